"""Converts Python tables to what the service reads: JSON cells and CSV bytes.

pandas and numpy are never imported: their values are recognised by their methods.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from foldhouse_client.errors import Fault, FoldhouseError

Cell = str | int | float | bool | None
Row = dict[str, Cell]

MISSING = "NA"  # in a CSV: a row of one empty cell would be a blank line
MAX_FAULTS = 100  # of one error


class UnsendableCell(Exception):
    """A cell that is not a number, text, boolean, date or missing value; the message says what."""


def is_frame(table: object) -> bool:
    """Whether it is a pandas data frame."""
    return hasattr(table, "to_csv") and hasattr(table, "columns")


def rows_of(table: Any) -> list[Row]:
    """Rows as JSON objects, from a data frame or from mappings by column.

    NaN, NaT and NA become null, numpy scalars Python numbers, and times ISO 8601 texts.

    Raises
    ------
    FoldhouseError: names the row (from 1) and column of each cell that cannot be sent.
    """
    rows: list[Row] = []
    faults: list[Fault] = []
    for number, row in enumerate(_records(table), start=1):
        cells: Row = {}
        for name, value in row.items():
            try:
                cells[str(name)] = cell(value)
            except UnsendableCell as error:
                faults.append(Fault(str(error), row=number, column=str(name)))
        rows.append(cells)
        if len(faults) >= MAX_FAULTS:
            break
    if faults:
        raise FoldhouseError(
            "The rows cannot be sent",
            None,
            "each cell must be a number, a text, a boolean, a date or a missing value",
            faults[:MAX_FAULTS],
        )
    return rows


def cell(value: Any) -> Cell:
    """One value as a JSON cell; raises UnsendableCell."""
    if value is None or isinstance(value, (str, bool, int)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, float):
        return _finite(float(value))
    if isinstance(value, Decimal):
        return _finite(float(value))
    if hasattr(value, "isoformat") and isinstance(value, date):  # pandas' Timestamp is one
        return None if value != value else value.isoformat()
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a scalar of numpy
        return _scalar(value)
    raise UnsendableCell(f"a {type(value).__name__} cannot be a cell")


def csv_bytes(frame: Any) -> bytes:
    """A data frame, without its index, as UTF-8 CSV; raises FoldhouseError as `rows_of` does."""
    for name in frame.columns:
        if frame[name].dtype.kind in "Om":
            rows_of(frame[[name]])  # to_csv would write a list, or a span of time, as a text
    text: str = frame.to_csv(index=False, na_rep=MISSING)
    return text.encode()


def _records(table: Any) -> Iterable[Mapping[str, Any]]:
    if not is_frame(table):
        rows: Sequence[Mapping[str, Any]] = table
        return rows
    # Column by column, because a row of a frame has one type for all of its cells.
    columns = [table[name].tolist() for name in table.columns]
    return (dict(zip(table.columns, cells, strict=True)) for cells in zip(*columns, strict=True))


def _scalar(value: Any) -> Cell:
    if getattr(getattr(value, "dtype", None), "kind", "") in "mM":
        text = str(value)  # ISO 8601; `item` would give nanoseconds as a number
        return None if text == "NaT" else text
    return cell(value.item())


def _finite(number: float) -> float | None:
    if math.isinf(number):
        raise UnsendableCell(f"{number} is not a finite number")
    return None if math.isnan(number) else number
