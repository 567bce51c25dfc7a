"""Converts texts that are not plain numbers or dates: `$1,200.50`, `85 m²`, `(3.5k)`,
`31-Jul-2010`.

`spellings` and `calendars` find a column's reading at upload. This module applies it, at upload
and to every row to predict. `models.serving.standalone` reads the same cells without arrow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import reduce
from typing import Annotated, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from models.tables.cells import (
    Floats,
    Mask,
    Moments,
    epoch_seconds,
    is_missing,
    matches,
    parse_dates,
)

Texts: TypeAlias = pa.Array | pa.ChunkedArray
DecimalMark = Literal[".", ","]
ThousandsMark = Literal[",", ".", " ", "'"]
GroupingMark = Literal["", ",", ".", " ", "'"]  # empty: none

# NFKC unifies blanks of every width, full-width digits and signs, m² and m2.
# A superscript digit is a footnote or a power, and must not join the digit before it.
RAISED = (r"([0-9])([¹²³⁰-⁹])", r"\1^\2")
# Web pages and phones leave zero-width and direction marks around numbers.
MARKS = (("[\u00ad\u200b-\u200f\u2060\ufeff]", ""), (r"[−‐–]", "-"), (r"[’‘]", "'"))
BLANKS = (" +", " ")
# Accounting parentheses mean minus, and the sign comes first: ($5) and $-5 become -$5.
BRACKETS = (r"^([^0-9(]*)\((.*)\)$", r"-\1\2")
SIGN_LAST = (r"^([^+-]*[0-9])-$", r"-\1")  # SAP writes 1234.50- for a negative amount
SIGN_FIRST = (r"^([^0-9+-]*?) ?([+-]) ?", r"\2\1")

_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: f"{place:02}" for place, name in enumerate(_NAMES, start=1)}
MONTHS |= {f"{place}": f"{place:02}" for place in range(1, 10)}
MONTHS |= {f"{place:02}": f"{place:02}" for place in range(1, 13)}
HOURS = {"": "00"}
HOURS |= {f"{hour}": f"{hour:02}" for hour in range(10)}
HOURS |= {f"{hour:02}": f"{hour:02}" for hour in range(24)}
for _half, _first in (("am", 0), ("pm", 12)):
    HOURS |= {f"{hour or 12}{_half}": f"{hour + _first:02}" for hour in range(12)}
    HOURS |= {f"{hour:02}{_half}": f"{hour + _first:02}" for hour in range(1, 10)}


class _Reading(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NumberReading(_Reading):
    """A cleaned cell is a sign, one of `before`, digits with their marks, one of `powers` and one
    of `after`. Only the digits are required."""

    kind: Literal["number"] = "number"
    decimal: DecimalMark
    grouping: GroupingMark = Field(description="The thousands mark; empty: none.")
    before: list[str] = Field(description="A currency that is removed.")
    powers: dict[str, int] = Field(description='`{"k": 3}`: 3.5k is 3500.')
    after: list[str] = Field(description="Units that are removed, in all their spellings.")

    @property
    def unit(self) -> str:
        """Its currency and its unit in their longest spellings; empty if it has neither."""
        return "".join(names[0] for names in (self.before, self.after) if names)

    @property
    def head(self) -> str:
        return f"^[+-]?{_optional(self.before)} ?"

    @property
    def tail(self) -> str:
        """What may follow the digits, including the dash of a whole amount such as 1,200.-."""
        return rf"(?:[.,:]-+)?{_optional(self.powers, ' ?', '[.]?')}{_optional(self.after, ' ?')}$"

    def scaled_by(self, power: str) -> str:
        """A pattern for the end of a cell with this factor."""
        return rf"[-0-9] ?{re.escape(power)}[.]?{_optional(self.after, ' ?')}$"


class DateReading(_Reading):
    """A cleaned cell matches `pattern`, whose groups name the parts of a moment."""

    kind: Literal["datetime"] = "datetime"
    format: str = Field(description="Such as `31-Jul-2010`.")
    pattern: str


Reading = Annotated[NumberReading | DateReading, Field(discriminator="kind")]


def apply(reading: Reading, cells: Texts) -> tuple[Floats, Mask]:
    """Read n trimmed texts.

    Returns
    -------
    values: (n,) float64; a moment is seconds since 1970, UTC. NaN where the cell is missing or odd.
    odd: (n,), true where a cell is not missing and does not match the reading.
    """
    if isinstance(reading, DateReading):
        moments, odd = read_moments(reading, cells)
        return epoch_seconds(moments), odd
    values = read_numbers(reading, cells)
    missing = is_missing(cells, among_numbers=True)
    values[missing] = np.nan
    return values, np.isnan(values) & ~missing


def read_numbers(reading: NumberReading, cells: Texts) -> Floats:
    """(n,) finite numbers, NaN where a cell does not fit."""
    texts = tidy_numbers(cells)
    digits = digits_under(reading.decimal, reading.grouping)
    fits = matches(texts, f"{reading.head}(?:{digits}){reading.tail}")
    fitting = texts.filter(pa.array(fits))
    body = _replaced(fitting, (reading.head, ""), (reading.tail, ""))
    exponent: Texts | str = ""
    for name, power in reading.powers.items():
        # float() gets the factor as an exponent, because 3.5e3 is exact and 3.5 × 1000 may not be.
        scaled = pc.match_substring_regex(fitting, reading.scaled_by(name))
        exponent = pc.if_else(scaled, f"e{power}", exponent)
    values = np.full(len(cells), np.nan)
    read = plain(body, reading.decimal, reading.grouping, exponent)
    read = np.where(pc.starts_with(fitting, "-").to_numpy(zero_copy_only=False), -read, read)
    values[fits] = np.where(np.isinf(read), np.nan, read)
    return values


def digits_under(decimal: DecimalMark, grouping: GroupingMark) -> str:
    """A pattern for digits and marks; 0,123 has no thousands, and 12,34,567 is Indian."""
    point = re.escape(decimal)
    if not grouping:
        return f"[0-9]+(?:{point}[0-9]+)?|{point}[0-9]+"
    mark = re.escape(grouping)
    more = "{2,3}" if grouping == "," else "{3}"
    groups = f"[1-9][0-9]{{0,2}}(?:{mark}[0-9]{more})*{mark}[0-9]{{3}}"
    # In a column with 1 200, 2,500 may mean thousands too.
    rest = "[0-9]+" if grouping in ".," else "(?:[0-9]{1,2}|[0-9]{4,})"
    return f"{groups}(?:{point}[0-9]+)?|[0-9]+(?:{point}{rest})?|{point}[0-9]+"


def plain(
    body: Texts, decimal: DecimalMark, grouping: GroupingMark, exponent: Texts | str = ""
) -> Floats:
    """(n,) values of the digits under a pair of marks."""
    if grouping:
        body = pc.replace_substring(body, grouping, "")
    if decimal != ".":
        body = pc.replace_substring(body, decimal, ".")
    texts = pc.binary_join_element_wise(body, exponent, "")
    values: Floats = texts.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values


class Parts:
    """The groups of a pattern in the texts that match it: `fits` (n,) says which.

    arrow's own `extract_regex` takes thirty times as long as a replacement.
    """

    def __init__(self, texts: Texts, pattern: str) -> None:
        self.fits = matches(texts, pattern)
        self._pattern = pattern
        self._texts = texts.filter(pa.array(self.fits))
        self._places = re.compile(pattern).groupindex

    def __getitem__(self, name: str) -> Texts:
        return pc.replace_substring_regex(self._texts, self._pattern, f"\\{self._places[name]}")


def read_moments(reading: DateReading, cells: Texts) -> tuple[Moments, Mask]:
    """Moments and odd cells, as from `parse_dates`; dates in ISO 8601 are read too."""
    moments, odd = parse_dates(cells)
    if odd.any():
        parts = Parts(tidy(cells.filter(pa.array(odd))), reading.pattern)
        read = np.full(len(parts.fits), np.datetime64("NaT"), dtype="datetime64[us]")
        read[parts.fits] = parse_dates(_iso(parts))[0]
        moments[odd] = read
        odd[odd] = np.isnat(read)
    return moments, odd


def _iso(parts: Parts) -> Texts:
    """Texts in ISO 8601; impossible dates stay impossible."""
    month = _lookup(pc.utf8_slice_codeunits(pc.utf8_lower(parts["month"]), 0, 3), MONTHS)
    half = pc.utf8_lower(parts["half"])
    hour = _lookup(pc.binary_join_element_wise(parts["hour"], half, ""), HOURS)
    minute, second = (
        pc.if_else(pc.equal(parts[name], ""), "00", parts[name]) for name in ("minute", "second")
    )
    day = pc.utf8_lpad(parts["day"], 2, "0")
    date = pc.binary_join_element_wise(parts["year"], month, day, "-")
    clock = pc.binary_join_element_wise(hour, minute, second, ":")
    moment = pc.binary_join_element_wise(date, clock, "T")
    offset = pc.utf8_upper(parts["offset"])
    return pc.fill_null(pc.binary_join_element_wise(moment, offset, ""), "no date")


def tidy(cells: Texts) -> Texts:
    """Texts with one kind of blank, dash and apostrophe."""
    if not pc.all(pc.string_is_ascii(cells)).as_py():
        cells = _replaced(pc.utf8_normalize(_replaced(cells, RAISED), "NFKC"), *MARKS)
    return _replaced(cells, BLANKS) if _any(cells, "  ") else cells


def tidy_numbers(cells: Texts) -> Texts:
    """The same, with the sign first."""
    cells = tidy(cells)
    if _any(cells, "("):
        cells = _replaced(cells, BRACKETS)
    if _any(cells, "-") or _any(cells, "+"):
        cells = _replaced(cells, SIGN_LAST, SIGN_FIRST)
    return cells


def _optional(texts: Iterable[str], before: str = "", behind: str = "") -> str:
    any_of = "|".join(map(re.escape, texts))
    return f"(?:{before}(?:{any_of}){behind})?" if any_of else ""


def _any(cells: Texts, part: str) -> bool:
    return bool(pc.any(pc.match_substring(cells, part)).as_py())


def _replaced(cells: Texts, *rules: tuple[str, str]) -> Texts:
    return reduce(lambda texts, rule: pc.replace_substring_regex(texts, *rule), rules, cells)


def _lookup(texts: Texts, table: dict[str, str]) -> Texts:
    """The table's value for each text; null where it has none."""
    return pa.array(list(table.values())).take(pc.index_in(texts, value_set=pa.array([*table])))
