"""Detects the number format of a column of texts, if there is an unambiguous one.

A cell is a sign, a currency, digits with marks, and a unit. The digits are read under each pair of
a decimal and a grouping mark. A pair is chosen if no other reads as many cells as other numbers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.tables.cells import ENOUGH, EXACT, Floats, Mask, matches
from models.tables.readings import (
    DecimalMark,
    GroupingMark,
    NumberReading,
    ThousandsMark,
    digits_under,
    plain,
    tidy_numbers,
)

WORTH_A_LOOK = 0.5  # share of the sampled cells that must be numbers in some spelling
MOST_UNITS = 10  # units that one column may have; streets and names have more

CURRENCIES = (
    "USD EUR GBP JPY CNY RMB CHF CAD AUD NZD SEK NOK DKK ISK PLN CZK HUF RON BGN RSD TRY RUB UAH "
    "INR IDR MYR SGD THB PHP VND KRW TWD HKD BRL MXN ARS CLP COP PEN UYU ZAR NGN KES EGP MAD ILS "
    "AED SAR QAR KWD PKR BDT LKR GEL KZT Kr kr Rs Fr"
).split()
# Letters may stand before a sign: US$, R$.
CURRENCY = rf"[A-Za-z]{{0,3}}\p{{Sc}}|(?:{'|'.join(CURRENCIES)})\.?"
IS_CURRENCY = re.compile(rf"[A-Za-z]{{0,3}}[^\w\s%‰°\"'/.,]|(?:{'|'.join(CURRENCIES)})\.?")
# A letter or sign, without digits except in m2 and ft3.
UNIT = r"(?:\pL[23]\b|[\pL\p{Sc}%‰°\"'/])(?:[^0-9]|\pL[23]\b)*"
# 1,200.- and 1.200,-- and 1 200:- are whole amounts.
SPELT_NUMBER = (
    rf"^[+-]?(?:{CURRENCY})? ?(?:[0-9](?:[0-9.,' ]*[0-9])?|[.,][0-9]+)(?:[.,:]-+)? ?(?:{UNIT})?$"
)
# Digits with signs that are not part of a spelling: ~5, 65+, >100, '5', 12*; not codes like #12.
_PLAINLY = r"(?:0|[1-9][0-9]*|[1-9][0-9]{0,2}(?:[,.' ][0-9]{3})+)(?:[.,][0-9]+)?"
SIGNED = rf"^[^\pL\p{{Nd}}#]{{0,2}}{_PLAINLY}[^\pL\p{{Nd}}#]{{0,2}}$"
A_SIGN = r"^\P{Nd}|\P{Nd}$"
LONGEST_UNIT = 24  # characters
# 3.5k, 12 k€, 1.2M, 2 million; "mm" and "kg" are units.
POWERS = {"k": 3, "K": 3, "M": 6, "m": 6, "B": 9}
POWERS |= dict.fromkeys(("thousand", "Tsd", "tsd"), 3)
POWERS |= dict.fromkeys(("mn", "mln", "mio", "Mio", "million", "millions", "Million"), 6)
POWERS |= dict.fromkeys(("bn", "Mrd", "mrd", "billion", "billions", "Billion"), 9)
POWERS |= {"lakh": 5, "lakhs": 5, "crore": 7, "crores": 7, "万": 4, "萬": 4, "만": 4}
POWERS |= {"亿": 8, "億": 8, "억": 8}
MAY_BE_UNITS = ("m", "B")  # metres, bytes
_ANY_POWER = "|".join(sorted(POWERS, key=len, reverse=True))
POWER = re.compile(rf"({_ANY_POWER})\.?(?: (.*)|(\W.*|[A-Z]{{3}}|[元円원]))?")
PLURALS = ("s", "es", "e", "n", "en", "er")

# Pairs of marks; of several that give the same numbers, the first is used.
MARKS: tuple[tuple[DecimalMark, GroupingMark], ...] = (
    (".", ""),
    (".", ","),
    (".", " "),
    (".", "'"),
    (",", ""),
    (",", "."),
    (",", " "),
    (",", "'"),
)
OTHER: dict[DecimalMark, GroupingMark] = {".": ",", ",": "."}

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Marks:
    """What the user says about the table's numbers and about its separator. It decides between
    possible readings."""

    decimal: DecimalMark | None = None
    thousands: ThousandsMark | None = None
    separator: str | None = None

    def __str__(self) -> str:
        """As the query string of an upload, empty if nothing is set."""
        said = asdict(self).items()
        return "&".join(f"{name}={mark}" for name, mark in said if mark is not None)

    def allow(self, decimal: DecimalMark, grouping: GroupingMark) -> bool:
        if self.decimal is not None and decimal != self.decimal:
            return False
        return self.thousands is None or (
            grouping in ("", self.thousands) and decimal != self.thousands
        )


UNSAID = Marks()


@dataclass(frozen=True)
class Ambiguous:
    """Texts with several possible meanings. `example`: one of them; `why`: what is unclear."""

    example: str
    why: str
    remedy: str


@dataclass(frozen=True)
class _Parts:
    """The parts of m distinct texts that are spelt numbers, and how often each text occurs."""

    texts: pa.Array
    counts: Counts
    before: pa.Array
    body: pa.Array
    after: pa.Array

    def only(self, chosen: Mask) -> _Parts:
        kept = pa.array(chosen)
        columns = (self.before, self.body, self.after)
        return _Parts(
            self.texts.filter(kept), self.counts[chosen], *(part.filter(kept) for part in columns)
        )


def detect(
    texts: pa.Array, counts: Counts, marks: Marks = UNSAID
) -> NumberReading | Ambiguous | None:
    """The reading of a column, from its m distinct non-missing texts.

    Returns
    -------
    None: fewer than 95 % of the cells are numbers in one spelling.
    """
    total = int(counts.sum())
    parts = _parts(texts, counts)
    if parts.counts.sum() < ENOUGH * total:
        return None
    affixes = _affixes(parts)
    fitting = parts.only(affixes.fits)
    if fitting.counts.sum() < ENOUGH * total:
        return _mixed(parts, affixes)
    return _marks(fitting, affixes, total, marks)


@dataclass(frozen=True)
class _Affixes:
    """A currency, and units with their powers of ten; `fits`: (m,)."""

    before: str
    after: dict[str, tuple[int | None, str]]
    fits: Mask


def is_likely(sample: pa.Array | pa.ChunkedArray) -> bool:
    """Whether a sample of a column's non-missing cells justifies examining all of them."""
    return float(is_spelt_number(sample).mean()) >= WORTH_A_LOOK


def is_spelt_number(texts: pa.Array | pa.ChunkedArray) -> Mask:
    """Which of m texts are numbers in some spelling: (m,)."""
    return matches(tidy_numbers(texts), SPELT_NUMBER)


def _parts(texts: pa.Array, counts: Counts) -> _Parts:
    """Split by patterns without groups, which take a fiftieth of the time."""
    tidied = tidy_numbers(texts)
    fits = matches(tidied, SPELT_NUMBER)
    tidied = tidied.filter(pa.array(fits))
    before = pc.replace_substring_regex(tidied, "[0-9].*$", "")
    rest = pc.replace_substring_regex(tidied, "^[^0-9]*", "")
    body = pc.utf8_rtrim(pc.replace_substring_regex(rest, "[^0-9.,' ].*$", ""), "., '")
    # A point before the digits belongs to the number: $.50.
    has_point = pc.match_substring_regex(before, r"(?:^|[^A-Za-z ])[.,]$")
    return _Parts(
        texts.filter(pa.array(fits)),
        counts[fits],
        pc.utf8_trim(
            pc.utf8_ltrim(pc.if_else(has_point, pc.utf8_rtrim(before, ".,"), before), "+-"), " "
        ),
        pc.if_else(
            has_point,
            pc.binary_join_element_wise(pc.utf8_slice_codeunits(before, -1), body, ""),
            body,
        ),
        pc.utf8_ltrim(pc.replace_substring_regex(rest, "^[0-9.,' ]*", ""), ":- "),
    )


def _affixes(parts: _Parts) -> _Affixes:
    """The most frequent currency and unit, and which texts have no other."""
    before = _heaviest(_weights(parts.before, parts.counts))
    weights = _weights(parts.after, parts.counts)
    split = {after: _split(after, before, weights) for after in weights}
    units: dict[str, int] = defaultdict(int)
    for after, (_, unit) in split.items():
        units[unit] += weights[after]
    unit = _heaviest(units)
    same = {"", unit} | {other for other in units if _is_plural(unit, other, parts)}
    if unit in ("%", "‰") and units[""] > (1 - ENOUGH) * sum(units.values()):
        same.remove("")  # 0.12 beside 12 % may be a share
    readable = {
        text: split_unit
        for text, split_unit in split.items()
        if split_unit[1] in same and len(text) <= LONGEST_UNIT
    }
    fits = pc.and_(
        pc.is_in(parts.before, value_set=pa.array(["", before])),
        pc.is_in(parts.after, value_set=pa.array([*readable], pa.string())),
    )
    return _Affixes(before, readable, fits.to_numpy(zero_copy_only=False))


def _weights(parts: pa.Array, counts: Counts) -> dict[str, int]:
    table = (
        pa.table({"part": parts, "count": counts}).group_by("part").aggregate([("count", "sum")])
    )
    return dict(zip(table["part"].to_pylist(), table["count_sum"].to_pylist(), strict=True))


def _heaviest(weights: dict[str, int]) -> str:
    return max((part for part in weights if part), key=weights.__getitem__, default="")


def _split(after: str, before: str, weights: dict[str, int]) -> tuple[int | None, str]:
    """(power, unit). 5m is five metres, unless the column also has 5k or a currency."""
    found = POWER.fullmatch(after)
    if found is None:
        return None, after
    name, unit = found[1], found[2] or found[3] or ""
    is_money = bool(before or IS_CURRENCY.fullmatch(unit))
    factors = {part[0] for part in weights if POWER.fullmatch(part)}
    is_power = name not in MAY_BE_UNITS or is_money or bool(factors & {"k", "K"})
    return (POWERS[name], unit) if is_power else (None, after)


def _is_plural(one: str, other: str, parts: _Parts) -> bool:
    """Whether two words are one unit, one of them used only with 1: 1 bath, 2 baths."""
    if _declined(other, one):
        single, several = other, one
    elif _declined(one, other):
        single, several = one, other
    else:
        return False
    bodies = {
        unit: set(parts.body.filter(pc.equal(parts.after, unit)).to_pylist())
        for unit in (single, several)
    }
    return bodies[single] <= {"0", "1", "1.0", "1,0"} and "1" not in bodies[several]


def _declined(single: str, several: str) -> bool:
    words, longer_words = single.split(), several.split()
    if single == several or len(words) != len(longer_words):
        return False
    return all(
        word == longer
        or (len(word) > 1 and longer in {word + ending for ending in PLURALS})
        or (word, longer) in (("foot", "feet"), ("inch", "inches"))
        for word, longer in zip(words, longer_words, strict=True)
    )


def _marks(
    fitting: _Parts, affixes: _Affixes, total: int, said: Marks
) -> NumberReading | Ambiguous | None:
    """The pair of marks that reads the most texts, if no other pair reads any differently."""
    ways = {marks: _read(fitting, *marks) for marks in MARKS}
    read = {
        marks: values
        for marks, values in ways.items()
        if fitting.counts[known(values)].sum() >= ENOUGH * total
    }
    read = {marks: read[marks] for marks in read if said.allow(*marks)} or read
    if not read:
        by_any = np.logical_or.reduce([known(values) for values in ways.values()])
        return _several_marks(fitting) if fitting.counts[by_any].sum() >= ENOUGH * total else None
    best = max(read, key=lambda marks: int(fitting.counts[known(read[marks])].sum()))
    for other in read:
        if (objection := _objection(read[best], read[other])) is not None:
            return _two_ways(fitting, objection, read)
    alike = [marks for marks in read if known(read[marks]).sum() == known(read[best]).sum()]
    if best[1] == "" and len({decimal for decimal, _ in alike}) == 1:
        best = (best[0], OTHER[best[0]])  # if the point is decimal, a comma must group
    if np.nanmax(np.abs(read[best])) >= EXACT:
        return None
    return _reading(affixes, *best)


def _read(fitting: _Parts, decimal: DecimalMark, grouping: GroupingMark) -> Floats:
    fits = matches(fitting.body, f"^(?:{digits_under(decimal, grouping)})$")
    values = np.full(len(fits), np.nan)
    values[fits] = plain(fitting.body.filter(pa.array(fits)), decimal, grouping)
    return values


def known(values: Floats) -> Mask:
    return ~np.isnan(values)


def _objection(best: Floats, other: Floats) -> int | None:
    """The first text that only the other pair reads or, if both read all, reads differently."""
    apart = known(other) & ~known(best)
    if not apart.any():
        if known(other).sum() < known(best).sum():
            return None
        apart = known(best) & (best != other)
    return int(apart.argmax()) if apart.any() else None


def _two_ways(
    fitting: _Parts, objection: int, read: dict[tuple[DecimalMark, GroupingMark], Floats]
) -> Ambiguous:
    body = fitting.body[objection].as_py()
    ways = {
        values[objection]: f"?decimal={decimal}" + (f"&thousands={grouping}" if grouping else "")
        for (decimal, grouping), values in reversed(read.items())
        if known(values)[objection]
    }
    remedy = " or ".join(f"{way} ({body} is {value:.15g})" for value, way in ways.items())
    return Ambiguous(
        fitting.texts[objection].as_py(),
        "may have a decimal or a thousands mark and are not read as numbers",
        f"upload the table with {remedy}",
    )


def _several_marks(fitting: _Parts) -> Ambiguous:
    example = fitting.texts.filter(matches(fitting.body, "[.,' ]"))[0].as_py()
    return Ambiguous(
        example,
        "have decimal or thousands marks of several kinds and are not read as numbers",
        "write 1234.5",
    )


def _mixed(parts: _Parts, affixes: _Affixes) -> Ambiguous | None:
    """Numbers with several units or currencies, unlike words such as 12 Main Street."""
    units = {text for text in pc.unique(parts.after).to_pylist() if text}
    currencies = {text for text in pc.unique(parts.before).to_pylist() if text}
    affixes_found = [*units, *currencies]
    if len(affixes_found) > MOST_UNITS or any(
        len(unit.split()) > 1 or len(unit) > 6 for unit in units
    ):
        return None
    if len(pc.unique(parts.body)) < 2 * len(affixes_found):
        return None  # a code such as 2fmCon
    example = parts.texts.filter(pa.array(~affixes.fits))[0].as_py()
    return Ambiguous(
        example,
        "are numbers with several units and are not read as numbers",
        f"use one unit, or none, instead of {', '.join(map(repr, sorted(affixes_found)))}",
    )


def _reading(affixes: _Affixes, decimal: DecimalMark, grouping: GroupingMark) -> NumberReading:
    return NumberReading(
        decimal=decimal,
        grouping=grouping,
        before=[affixes.before] if affixes.before else [],
        powers={
            found[1]: power
            for text, (power, _) in affixes.after.items()
            if power is not None and (found := POWER.fullmatch(text))
        },
        # The longer one first, because "bath" must not match the beginning of "baths".
        after=sorted({unit for _, unit in affixes.after.values() if unit}, key=len, reverse=True),
    )
