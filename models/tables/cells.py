"""Cells as text to numbers and moments: the rules of docs/reading-tables.md, vectorised.

Every function takes n trimmed cells (arrow strings without nulls, in an array or a chunked array)
and reads a cell the same way, by itself or among millions.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "#N/A", "<NA>", "NaT")
MISSING_AMONG_NUMBERS = (*MISSING, "None", "none", "?", "-", ".")  # among words these may be levels
ENOUGH = 0.95  # share of a column's cells that must be numbers, or dates
EXACT = 2**53  # from here on float64 rounds some whole numbers
_MISSING = pa.array(MISSING)
_MISSING_AMONG_NUMBERS = pa.array(MISSING_AMONG_NUMBERS)

NUMBER = r"(?i)^[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|nan)$"
OTHER_DIGITS = r"^[-+.eE\p{Nd}]+$"  # float() reads decimal digits of any script
_TIME = r"[0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?"
_OFFSET = r" ?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
DATE = rf"^[0-9]{{4}}(?:-[0-9]{{1,2}}-|/[0-9]{{1,2}}/)[0-9]{{1,2}}(?:[T ]{_TIME}(?:{_OFFSET})?)?$"
MONTH = r"^(?:19|20)[0-9]{2}-[0-9]{2}$"  # in other centuries it is more likely a code
BELOW_MICROSECONDS = r"(\.[0-9]{6})[0-9]+"

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Moments = NDArray[np.datetime64]


def is_missing(cells: pa.ChunkedArray, *, among_numbers: bool = False) -> Mask:
    """Which cells are missing: (n,). `among_numbers`: use the longer list for numbers and dates."""
    return is_among(cells, _MISSING_AMONG_NUMBERS if among_numbers else _MISSING)


def read_floats(cells: pa.ChunkedArray) -> tuple[Floats, Mask]:
    """Numbers as `float()` reads them, except with underscores.

    Returns
    -------
    values: (n,), infinite where the cell is (1e400 is), NaN where it is missing or not a number.
    odd: (n,), true where a cell is neither missing nor a number.
    """
    missing = is_missing(cells, among_numbers=True)
    plain = _plain_floats(cells, missing)
    if plain is not None:
        return plain, np.zeros(len(plain), bool)
    number = matches(cells, NUMBER)
    values = _cast(cells, number)
    odd = ~(number | missing)
    if odd.any():
        foreign = odd & matches(cells, OTHER_DIGITS)
        values = values.copy()  # arrow's memory is read-only
        values[foreign] = [_float(cell) for cell in cells.filter(pa.array(foreign)).to_pylist()]
        odd[foreign] = np.isnan(values[foreign])
    return values, odd


def parse_numbers(cells: pa.ChunkedArray) -> tuple[Floats, Mask]:
    """Finite numbers.

    Returns
    -------
    values: (n,), NaN where the cell is missing or not a finite number.
    odd: (n,), true where a cell is neither missing nor a finite number.
    """
    values, odd = read_floats(cells)
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values), odd | infinite


def parse_dates(cells: pa.ChunkedArray) -> tuple[Moments, Mask]:
    """ISO 8601 dates and date-times, in UTC where they name no offset.

    Returns
    -------
    moments: (n,) datetime64[us], NaT where the cell is missing or not a date.
    odd: (n,), true where a cell is neither missing nor a date.
    """
    shaped = matches(cells, DATE) | matches(cells, MONTH)
    texts = pc.replace_substring_regex(cells.filter(pa.array(shaped)), BELOW_MICROSECONDS, r"\1")
    read = pd.to_datetime(texts.to_pandas(), format="ISO8601", errors="coerce", utc=True)
    moments = np.full(len(cells), np.datetime64("NaT"), dtype="datetime64[us]")
    moments[shaped] = read.dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
    return moments, np.isnat(moments) & ~is_missing(cells, among_numbers=True)


def epoch_seconds(moments: Moments) -> Floats:
    """Seconds since 1970-01-01 UTC: (n,), NaN for NaT."""
    seconds = moments.astype("datetime64[us]").astype(np.int64) / 1e6
    return np.where(np.isnat(moments), np.nan, seconds)


def is_among(cells: pa.ChunkedArray, values: pa.Array) -> Mask:
    """Which cells are one of the values: (n,)."""
    return _mask(pc.is_in(cells, value_set=values))


def matches(cells: pa.ChunkedArray, pattern: str) -> Mask:
    """Which cells match the RE2 pattern: (n,)."""
    return _mask(pc.match_substring_regex(cells, pattern))


def _mask(flags: pa.ChunkedArray) -> Mask:
    mask: Mask = flags.to_numpy(zero_copy_only=False)
    return mask


def _plain_floats(cells: pa.ChunkedArray, missing: Mask) -> Floats | None:
    """The numbers of a column in which arrow can parse every non-missing cell.

    This takes no longer than a pattern that only checks the cells. If one cell is odd, all are
    read twice.
    """
    try:
        values = _cast(cells, ~missing)
    except pa.ArrowInvalid:
        return None
    # float() does not read NaN followed by brackets.
    return None if np.isnan(values[~missing]).any() else values


def _cast(cells: pa.ChunkedArray, chosen: Mask) -> Floats:
    """(n,) the chosen cells, NaN for the others; raises ArrowInvalid."""
    read = pc.if_else(pa.array(chosen), cells, None).cast(pa.float64())
    values: Floats = read.to_numpy(zero_copy_only=False)
    return values


def _float(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
