"""One column of text to numbers, dates or words, and what was odd about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.data.cells import Mask, is_among, is_missing, parse_dates, read_floats
from models.data.faults import quoted

ReadingCode = Literal[
    "numeric_header",
    "mixed_numbers",
    "mixed_dates",
    "not_finite",
    "thousands_separators",
    "decimal_commas",
    "ambiguous_dates",
]

ENOUGH = 0.95  # share of a column's cells that makes it one of numbers or of dates


@dataclass(frozen=True)
class ReadingWarning:
    """Something a reader should look at; `row` is the first of its kind, from 1."""

    code: ReadingCode
    column: str | None
    detail: str
    row: int | None


@dataclass(frozen=True)
class Lookalike:
    """Words that were probably meant as numbers or dates, but say it ambiguously."""

    code: ReadingCode
    pattern: str
    meaning: str
    remedy: str


LOOKALIKES = (
    Lookalike(
        "thousands_separators",
        r"^[+-]?[$€£]?[0-9]{1,3}(?:[,' \x{a0}\x{202f}][0-9]{3})+(?:\.[0-9]*)?$",
        "are written with a thousands separator, which is not read as part of a number",
        "write 1234.5",
    ),
    Lookalike(
        "decimal_commas",
        r"^[+-]?[0-9]+(?:\.[0-9]{3})*,[0-9]+$",
        "are written with a decimal comma, which is not read as part of a number",
        "write 1234.5",
    ),
    Lookalike(
        "ambiguous_dates",
        r"^[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:[0-9]{2}|[0-9]{4})(?:[T ].*)?$",
        "may be day-month or month-day, and are not read as dates",
        "write 2010-07-31",
    ),
)


def type_column(name: str, cells: pa.ChunkedArray) -> tuple[pa.ChunkedArray, list[ReadingWarning]]:
    """Decide what a column holds and convert it.

    Parameters
    ----------
    cells: trimmed strings without nulls, of length n.

    Returns
    -------
    column: float64, timestamp("us") or string, of length n; null is missing.
    """
    present = ~is_missing(cells, among_numbers=True)
    floats, not_numbers = read_floats(cells)
    numbers = present & ~not_numbers
    if _enough(numbers, present):
        warnings = _dropped(name, cells, np.isinf(floats), "not_finite", "not a finite number")
        warnings += _dropped(name, cells, not_numbers, "mixed_numbers", "not a number")
        warnings += _lookalikes(name, cells, numbers, present)
        finite = np.where(np.isinf(floats), np.nan, floats)
        return pa.chunked_array([pa.array(finite, from_pandas=True)]), warnings

    moments, not_dates = parse_dates(cells)
    dates = present & ~not_dates
    if _enough(dates, present):
        warnings = _dropped(name, cells, not_dates, "mixed_dates", "not a date")
        warnings += _lookalikes(name, cells, dates, present)
        return pa.chunked_array([pa.array(moments)]), warnings

    warnings = _lookalikes(name, cells, numbers | dates, present)
    if not warnings:
        warnings = _numbers_among_words(name, cells, numbers, present)
    return pc.if_else(pa.array(is_missing(cells)), None, cells), warnings


def _enough(kind: Mask, present: Mask) -> bool:
    return bool(kind.any()) and float(kind.sum()) >= ENOUGH * float(present.sum())


def _dropped(
    name: str, cells: pa.ChunkedArray, dropped: Mask, code: ReadingCode, because: str
) -> list[ReadingWarning]:
    if not dropped.any():
        return []
    row = _first(dropped)
    detail = f"{_count(dropped)} taken as missing: {because} (row {row}: {_cell(cells, row)})."
    return [ReadingWarning(code, name, detail, row)]


def _lookalikes(
    name: str, cells: pa.ChunkedArray, read: Mask, present: Mask
) -> list[ReadingWarning]:
    odd = cells.filter(pa.array(present & ~read)).unique()  # few, however long the column
    for lookalike in LOOKALIKES:
        levels = odd.filter(pc.match_substring_regex(odd, lookalike.pattern))
        if len(levels) == 0:
            continue
        alike = is_among(cells, levels)
        if _enough(alike | read, present):
            row = _first(alike)
            detail = (
                f"{_count(alike)} {lookalike.meaning} (row {row}: {_cell(cells, row)}): "
                f"{lookalike.remedy}."
            )
            return [ReadingWarning(lookalike.code, name, detail, row)]
    return []


def _numbers_among_words(
    name: str, cells: pa.ChunkedArray, numbers: Mask, present: Mask
) -> list[ReadingWarning]:
    share = float(numbers.sum()) / max(1.0, float(present.sum()))
    if share < 0.5:
        return []
    row = _first(present & ~numbers)
    detail = (
        f"{100 * share:.1f} % of the cells are numbers, too few for a column of numbers: all are "
        f"read as words (row {row}: {_cell(cells, row)})."
    )
    return [ReadingWarning("mixed_numbers", name, detail, row)]


def _first(mask: Mask) -> int:
    return int(np.argmax(mask)) + 1


def _count(mask: Mask) -> str:
    count = int(mask.sum())
    return "1 cell" if count == 1 else f"{count:,} cells"


def _cell(cells: pa.ChunkedArray, row: int) -> str:
    return quoted(cells[row - 1].as_py())
