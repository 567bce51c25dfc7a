"""Facts about all rows of an answer, given once, as members or as headers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from models.tables.faults import RowWarning

MAX_HEADER = 4_096  # characters; proxies cut or refuse longer ones
LEFT_OUT = "+"  # in front of the number of names that a header leaves out; quote() never writes it


@dataclass(frozen=True)
class Facts:
    """The model that answered, and the warnings that apply to all rows.

    unit : of the target, if its cells had one
    alias : the name in the request, if it was an alias
    missing_columns : columns of the model that no row has; imputed as in training
    ignored_columns : columns of the rows that the model does not use
    """

    model_id: str
    target: str
    unit: str | None
    alias: str | None
    missing_columns: list[str]
    ignored_columns: list[str]
    warnings: list[RowWarning]

    def headers(self) -> dict[str, str]:
        """As headers of a CSV; empty ones are left out."""
        headers = {
            "X-Model-Id": self.model_id,
            "X-Target": quote(self.target),
            "X-Unit": quote(self.unit or ""),
            "X-Alias": self.alias or "",
            "X-Missing-Columns": header_text(self.missing_columns),
            "X-Ignored-Columns": header_text(self.ignored_columns),
            "X-Warnings": header_text(warning.code for warning in self.warnings),
        }
        return {name: text for name, text in headers.items() if text}

    def parameters(self) -> dict[str, str]:
        """As texts, for the parameters of the Open Inference Protocol."""
        texts = {name.removeprefix("X-").lower(): text for name, text in self.headers().items()}
        return {name.replace("-", "_"): text for name, text in texts.items() if name != "model-id"}

    def ignored_header(self) -> dict[str, str]:
        """The one header that accompanies JSON, whose document has all facts."""
        return {"X-Ignored-Columns": header_text(names)} if (names := self.ignored_columns) else {}


def header_text(names: Iterable[str]) -> str:
    """Names, percent-encoded because a header is latin-1 and a name may hold a comma. If they would
    be too long, the last item is "+" and the number of names left out.

    >>> header_text(["größe, m²", "Id"])
    'gr%C3%B6%C3%9Fe%2C%20m%C2%B2,Id'
    """
    quoted = [quote(name) for name in names]
    length = 0
    for place, text in enumerate(quoted):
        length += len(text) + 1
        if length > MAX_HEADER:
            return ",".join([*quoted[:place], f"{LEFT_OUT}{len(quoted) - place}"])
    return ",".join(quoted)
