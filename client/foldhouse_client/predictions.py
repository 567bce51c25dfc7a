"""What a model answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote


class Predictions(list[dict[str, Any]]):
    """A prediction for each row, in order, and what is true of all of them.

    facts : the rest of the service's answer: `model_id`, `target`, `missing_columns` and so on
    """

    def __init__(self, predictions: Iterable[dict[str, Any]], facts: Mapping[str, Any]) -> None:
        super().__init__(predictions)
        self.facts = dict(facts)


def facts_of(headers: Mapping[str, str]) -> dict[str, Any]:
    """The facts of a CSV answer, which stand in its headers; None or [] where there is none."""
    names = ("missing_columns", "ignored_columns", "warnings")
    target = headers.get("X-Target")
    return {
        "model_id": headers.get("X-Model-Id"),
        "target": None if target is None else unquote(target),
        "alias": headers.get("X-Alias"),
        **{name: listed(headers.get("X-" + name.replace("_", "-"))) for name in names},
    }


def listed(header: str | None) -> list[str]:
    """The names in a header such as X-Ignored-Columns, which are percent-encoded.

    Where the service had to cut them, the last item says how many more there are.

    >>> listed("Lot%20Area,Id,+3")
    ['Lot Area', 'Id', '3 more']
    """
    names = [] if not header else header.split(",")
    cut = [f"{names.pop()[1:]} more"] if names and names[-1].startswith("+") else []
    return [*map(unquote, names), *cut]
