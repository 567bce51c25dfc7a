"""Faults of tables, and oddities in rows to predict, with their places."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

WarningCode = Literal[
    "unknown_category",
    "not_a_number",
    "missing_value",
    "out_of_range",
    "outlier",
    "no_interval",
    "no_set",
    "prediction_bounded",
    "more_warnings",
]

_SHORT = reprlib.Repr()
_SHORT.maxstring = 60  # characters, quotes included


@dataclass(frozen=True)
class TableFault:
    """One fault. `row` counts from 1 at the first row below the header."""

    detail: str
    row: int | None = None
    column: str | None = None


class TableError(ValueError):
    """The table cannot be used: `detail` says what is wrong and what to do, `faults` where."""

    def __init__(self, detail: str, faults: Sequence[TableFault] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = list(faults)


@dataclass(frozen=True, slots=True)
class RowWarning:
    """Something odd about one cell, one row, or all rows of a request."""

    code: WarningCode
    column: str | None
    detail: str


def quoted(text: str) -> str:
    """A name or cell for a message: quoted, escaped, and shortened in the middle if long."""
    return _SHORT.repr(text)
