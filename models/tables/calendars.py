"""Detects the date format of a column of texts, if there is an unambiguous one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.tables.cells import DATE, ENOUGH, Floats, Mask, matches
from models.tables.readings import DateReading, read_moments, tidy
from models.tables.spellings import WORTH_A_LOOK, Ambiguous

_YEAR, _MONTH, _DAY = "(?P<year>[0-9]{4})", "(?P<month>[0-9]{1,2})", "(?P<day>[0-9]{1,2})"
_NAME = (
    "(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_WEEKDAY = "(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?"
_ZONE = "(?: ?(?P<offset>z|[+-][0-9]{2}(?::?[0-9]{2})?))?"
_SECOND = r"(?P<second>[0-9]{2}(?:\.[0-9]{1,9})?)"
_CLOCK = (
    f"(?:(?:,? |t)(?P<hour>[0-9]{{1,2}}):(?P<minute>[0-9]{{2}})(?::{_SECOND})?"
    f"(?: ?(?P<half>[ap]m))?{_ZONE})?"
)
_COMPACT = (
    "(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})"
    f"(?:t(?P<hour>[0-9]{{2}}):?(?P<minute>[0-9]{{2}})(?::?{_SECOND})?(?P<half>){_ZONE})?"
)


def _format(example: str, date: str, clock: str = _CLOCK) -> DateReading:
    return DateReading(pattern=f"(?i)^{date}{clock}$", format=example)


MONTH_FIRST = _format("7/31/2010", f"{_MONTH}[-/.]{_DAY}[-/.]{_YEAR}")
DAY_FIRST = _format("31/7/2010", f"{_DAY}[-/.]{_MONTH}[-/.]{_YEAR}")
FORMATS = (
    _format("20100731T183000", _COMPACT, ""),
    _format("31-Jul-2010", rf"{_WEEKDAY}{_DAY}(?:st|nd|rd|th)?\.?[- /]?{_NAME},?[- /]?{_YEAR}"),
    _format("July 31, 2010", rf"{_WEEKDAY}{_NAME}[- /]?{_DAY}(?:st|nd|rd|th)?(?:, ?|[- /]){_YEAR}"),
    _format("2010.07.31", f"{_YEAR}[-/. ]{_MONTH}[-/. ]{_DAY}"),
    _format("2010-Jul-31", f"{_YEAR}[- /]?{_NAME}[- /]?{_DAY}"),
)
# Two digits may be a year, a month or a day.
SHORT_YEAR = r"^[0-9]{1,2}(?:[-/.][0-9]{1,2}[-/.]|[- ]?[A-Za-z]{3}[- ]?)[0-9]{2}(?:[T ].*)?$"
# Months without a day or in other languages, quarters and weeks.
_MONTHS = (
    "jan|gen|ene|feb|fév|fev|mar|mär|mrt|apr|avr|abr|mai|may|maj|mei|mag|jun|juin|giu|jul|juil|lug|"
    "aug|aoû|aou|ago|sep|set|okt|oct|out|ott|nov|dez|dec|déc|dic"
)
UNREAD = (
    rf"(?i)^(?:(?:[0-9]{{1,2}}\.?(?: de |[-/ ])?)?(?:{_MONTHS})\pL{{0,6}}\.?(?: de |,? |[-/])"
    r"(?:[0-9]{4}|[0-9]{2})|[0-9]{4}[-/ ]?(?:q[1-4]|w[0-9]{1,2}(?:-[1-7])?)|q[1-4][-/ ]?[0-9]{4})$"
)
FIRST_DAY, LAST_DAY = 19000101, 20991231  # outside, eight digits are more likely a number

Counts = NDArray[np.int64]


def likely(sample: pa.Array) -> list[DateReading]:
    """The readings worth trying, judged by some of a column's non-missing cells."""
    texts = tidy(sample)
    iso = matches(texts, DATE)
    return [
        reading
        for reading in (*FORMATS, MONTH_FIRST, DAY_FIRST)
        if (iso | matches(texts, reading.pattern)).mean() >= WORTH_A_LOOK
    ]


def may_be_dates(texts: pa.Array) -> Mask:
    """Which of m texts look like dates but may be unreadable: (m,)."""
    return matches(texts, SHORT_YEAR) | matches(tidy(texts), UNREAD)


def are_compact_days(values: Floats) -> bool:
    """Whether all n numbers are days such as 20100731, and there are several."""
    if len(values) == 0 or values.min() < FIRST_DAY or values.max() > LAST_DAY:
        return False
    month, day = values // 100 % 100, values % 100
    are_days = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (day % 1 == 0)
    return bool(are_days.all() and values.min() < values.max())


def detect(
    readings: Sequence[DateReading], texts: pa.Array, counts: Counts
) -> DateReading | Ambiguous | None:
    """Choose a column's reading among the likely ones, from its m distinct non-missing texts.

    Returns
    -------
    None: fewer than 95 % of the cells are dates in one format.
    """
    enough = ENOUGH * counts.sum()
    fits = {reading.format: _fits(reading, texts) for reading in readings}
    for reading in FORMATS:
        if reading in readings and counts[fits[reading.format]].sum() >= enough:
            return reading
    nothing = np.zeros(len(texts), bool)
    by_month, by_day = (fits.get(way.format, nothing) for way in (MONTH_FIRST, DAY_FIRST))
    if counts[by_month | by_day].sum() >= enough:
        # The other order must not read any text that this one cannot.
        if (by_month & ~by_day).any() and not (by_day & ~by_month).any():
            return MONTH_FIRST
        if (by_day & ~by_month).any() and not (by_month & ~by_day).any():
            return DAY_FIRST
    either = by_month | by_day | matches(texts, SHORT_YEAR)
    if counts[either].sum() >= enough:
        return _ambiguous(texts, either)
    unread = matches(tidy(texts), UNREAD)
    return _unread(texts, unread) if counts[unread].sum() >= enough else None


def _fits(reading: DateReading, texts: pa.Array) -> Mask:
    fits: Mask = ~np.isnat(read_moments(reading, texts)[0])
    return fits


def _ambiguous(texts: pa.Array, found: Mask) -> Ambiguous:
    return Ambiguous(
        texts.filter(pa.array(found))[0].as_py(),
        "may mean more than one day, and are not read as dates",
        "write 2010-07-31",
    )


def _unread(texts: pa.Array, found: Mask) -> Ambiguous:
    return Ambiguous(
        texts.filter(pa.array(found))[0].as_py(),
        "are days, months, quarters or weeks in a format that is not read as dates",
        "to keep their order, write 2010-07-31, or 2010-07 for a month",
    )
