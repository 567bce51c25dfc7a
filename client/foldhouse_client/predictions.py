"""The predictions of a model, with facts about all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote


class Predictions(list[dict[str, Any]]):
    """A prediction for each row, in order, and facts about all rows.

    facts : the rest of the service's answer, such as `model_id`, `target`, `missing_columns`
    """

    def __init__(self, predictions: Iterable[dict[str, Any]], facts: Mapping[str, Any]) -> None:
        super().__init__(predictions)
        self.facts = dict(facts)


def given(**options: Any) -> dict[str, Any]:
    """The options that were given, as query parameters.

    >>> given(coverage=None, explain=True, by_class=False, classes=["no", "yes"])
    {'explain': 'true', 'classes': ['no', 'yes']}
    """
    return {
        name: "true" if value is True else value
        for name, value in options.items()
        if value is not None and value is not False
    }


def facts_of(headers: Mapping[str, str]) -> dict[str, Any]:
    """The facts of a CSV answer, from its headers; None or [] for those without a value."""
    names = ("missing_columns", "ignored_columns", "warnings")
    target, unit = (headers.get(name) for name in ("X-Target", "X-Unit"))
    return {
        "model_id": headers.get("X-Model-Id"),
        "target": None if target is None else unquote(target),
        "unit": None if unit is None else unquote(unit),
        "alias": headers.get("X-Alias"),
        **{name: listed(headers.get("X-" + name.replace("_", "-"))) for name in names},
    }


def listed(header: str | None) -> list[str]:
    """The names in a header such as X-Ignored-Columns, which are percent-encoded.

    If the service had to cut the list, the last item says how many more there are.

    >>> listed("Lot%20Area,Id,+3")
    ['Lot Area', 'Id', '3 more']
    """
    names = [] if not header else header.split(",")
    cut = [f"{names.pop()[1:]} more"] if names and names[-1].startswith("+") else []
    return [*map(unquote, names), *cut]
