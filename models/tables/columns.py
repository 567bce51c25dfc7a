"""Converts one column of text to numbers, dates or words, and reports odd cells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.tables import calendars, spellings
from models.tables.cells import (
    ENOUGH,
    EXACT,
    Floats,
    Mask,
    Moments,
    is_among,
    is_missing,
    matches,
    parse_dates,
    read_floats,
)
from models.tables.faults import quoted
from models.tables.readings import (
    DateReading,
    NumberReading,
    Reading,
    apply,
    read_moments,
    read_numbers,
    tidy,
)
from models.tables.spellings import UNSAID, WORTH_A_LOOK, Ambiguous, Marks

ReadingCode = Literal[
    "dialect",
    "numeric_header",
    "mixed_numbers",
    "mixed_dates",
    "not_finite",
    "read_as_numbers",
    "read_as_dates",
    "ambiguous_numbers",
    "ambiguous_dates",
    "time_of_day",
    "long_integers",
    "leading_zeros",
    "far_dates",
    # Only in tables that an earlier version read.
    "thousands_separators",
    "decimal_commas",
]
# A column with one of these codes holds words that probably mean numbers or dates.
LOOKALIKES: frozenset[ReadingCode] = frozenset(
    {"ambiguous_numbers", "ambiguous_dates", "time_of_day"}
)

WHOLE = r"^[+-]?[0-9]+(?:\.0*)?$"
ZEROS_FIRST = r"^0[0-9]+$"
# 1.234 beside whole numbers: 950, and 9500 if only longer numbers have a mark.
GROUPED = r"^[+-]?(?:0|[1-9][0-9]*|[1-9][0-9]{0,2}\.[0-9]{3})$"
TIME_OF_DAY = r"^[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?: ?[AaPp]\.?[Mm]\.?)?$"
# Databases write "never" as a date far from any event.
FIRST_DAY, LAST_DAY = np.datetime64("1684-01-01"), np.datetime64("2256-01-01")
EXAMPLES = 100  # candidates for the cell that a warning shows
SAMPLE = 1_000  # cells that decide whether all are examined
FEWEST_SPELT = 3  # distinct numbers needed before words beside them are exceptions
MOST_DIGITS = 400  # compared in a whole number: longer ones are infinite as a float
AS_MISSING = "taken as missing:"


@dataclass(frozen=True)
class ReadingWarning:
    """Something the user should check; `row` is the first such row, from 1."""

    code: ReadingCode
    column: str | None
    detail: str
    row: int | None


@dataclass(frozen=True)
class TypedColumn:
    """`cells`: float64, timestamp("us") or string, of length n; null is missing. `reading`: how
    the texts were converted, if they are not plain numbers or dates."""

    cells: pa.ChunkedArray
    warnings: list[ReadingWarning]
    reading: Reading | None = None


def type_column(name: str, cells: pa.ChunkedArray, marks: Marks = UNSAID) -> TypedColumn:
    """Decide what a column holds and convert it.

    Parameters
    ----------
    cells: trimmed strings without nulls, of length n.
    marks: the user's choice for numbers that can be read in two ways.
    """
    return _Column(name, cells).typed(marks)


class _Column:
    """The texts of one column, and the decision what they are."""

    def __init__(self, name: str, cells: pa.ChunkedArray) -> None:
        self.name = name
        self.cells = cells
        self.present = ~is_missing(cells, among_numbers=True)

    def typed(self, marks: Marks) -> TypedColumn:
        floats, not_numbers = read_floats(self.cells)
        numbers = self.present & ~not_numbers
        if self._enough(numbers):
            return self._of_numbers(floats, not_numbers, marks)
        moments, not_dates = parse_dates(self.cells)
        dates = self.present & ~not_dates
        if self._enough(dates):
            return self._of_moments(moments, not_dates, [])
        return self._in_other_spelling(marks) or self._of_words(
            self._too_few(numbers, "mixed_numbers", "numbers")
            or self._too_few(dates, "mixed_dates", "dates")
        )

    def _of_numbers(self, floats: Floats, not_numbers: Mask, marks: Marks) -> TypedColumn:
        """Plain numbers, unless another spelling reads more cells or digits would be lost."""
        numbers = self.present & ~not_numbers
        lost = self._lost_digits(floats)
        if lost.sum() > (1 - ENOUGH) * numbers.sum() and self._match(numbers, WHOLE).all():
            return self._of_words(
                self._noted(
                    lost,
                    "long_integers",
                    "with more digits than a number keeps: the column stays words",
                )
            )
        warnings = self._noted(
            lost, "long_integers", "with more digits than a number keeps are rounded"
        )
        warnings += self._noted(np.isinf(floats), "not_finite", f"{AS_MISSING} not a finite number")
        warnings += self._noted(not_numbers, "mixed_numbers", f"{AS_MISSING} not a number")
        finite = np.where(np.isinf(floats), np.nan, floats)
        if not_numbers.any() or self._may_be_thousands(floats):
            found = spellings.detect(*self.distinct, marks)
            if isinstance(found, NumberReading):
                values = read_numbers(found, self.cells)
                gained = int((self.present & ~np.isnan(values)).sum() - numbers.sum())
                differs = not np.array_equal(values, finite, equal_nan=True)
                if gained > 0 or (gained == 0 and differs):
                    return self._of_spelling(found)
            if isinstance(found, Ambiguous):
                doubt = self._in_doubt("ambiguous_numbers", found)
                if not not_numbers.any():
                    return self._of_words(doubt)
                warnings += doubt
        warnings += self._zeros_first()
        warnings += self._compact_days(finite)
        return TypedColumn(pa.chunked_array([pa.array(finite, from_pandas=True)]), warnings)

    def _of_moments(
        self,
        moments: Moments,
        odd: Mask,
        warnings: list[ReadingWarning],
        reading: Reading | None = None,
    ) -> TypedColumn:
        warnings = [
            *warnings,
            *self._noted(odd, "mixed_dates", f"{AS_MISSING} not a date"),
            *self._never(moments),
        ]
        return TypedColumn(pa.chunked_array([pa.array(moments)]), warnings, reading)

    def _of_words(self, warnings: list[ReadingWarning]) -> TypedColumn:
        cells = self.cells
        if is_booleans(self.sample) and is_booleans(levels := self.distinct[0]):
            if len(pc.utf8_lower(levels).unique()) < len(levels):  # TRUE beside true
                cells = pc.if_else(pa.array(self.present), pc.utf8_lower(cells), cells)
        return TypedColumn(pc.if_else(pa.array(is_missing(cells)), None, cells), warnings)

    def _in_other_spelling(self, marks: Marks) -> TypedColumn | None:
        sample = self.sample
        # Compiling the patterns takes longer than seeing that no cell has a digit.
        if len(sample) == 0 or matches(sample, r"\p{Nd}").mean() < WORTH_A_LOOK:
            return None
        if spellings.is_likely(sample):
            number = spellings.detect(*self.distinct, marks)
            if isinstance(number, NumberReading):
                return self._of_spelling(number)
            if isinstance(number, Ambiguous):
                return self._of_words(self._in_doubt("ambiguous_numbers", number))
        date = self._calendar(sample)
        if isinstance(date, DateReading):
            return self._of_calendar(date)
        if isinstance(date, Ambiguous):
            return self._of_words(self._in_doubt("ambiguous_dates", date))
        if matches(sample, TIME_OF_DAY).mean() >= ENOUGH:
            times = matches(self.cells, TIME_OF_DAY)
            what = (
                "with a time of day or a duration stay words: to keep their order, write a "
                "number, such as 18.5 for 18:30"
            )
            return self._of_words(self._noted(times, "time_of_day", what))
        signs = matches(sample, spellings.A_SIGN)
        if signs.any() and matches(tidy(sample), spellings.SIGNED).mean() >= ENOUGH:
            signed = Ambiguous(
                sample.filter(pa.array(signs))[0].as_py(),
                "have a sign beside the number and are not read as numbers",
                "write the number without it",
            )
            return self._of_words(self._in_doubt("ambiguous_numbers", signed))
        return self._partly_in_other_spelling(marks)

    def _partly_in_other_spelling(self, marks: Marks) -> TypedColumn | None:
        """$1,200, but with too many words such as "on request" beside it."""
        texts, counts = self.distinct
        spelt = spellings.is_spelt_number(texts)
        if spelt.sum() < FEWEST_SPELT or spelt.sum() <= (~spelt).sum():
            return None  # levels such as 1Fam and Duplex
        found = spellings.detect(texts.filter(pa.array(spelt)), counts[spelt], marks)
        if not isinstance(found, NumberReading):
            return None
        read = ~np.isnan(apply(found, self.cells)[0])
        return self._of_words(self._too_few(read, "mixed_numbers", "numbers"))

    def _calendar(self, sample: pa.ChunkedArray) -> DateReading | Ambiguous | None:
        readings = calendars.likely(sample)
        in_doubt = calendars.may_be_dates(sample).mean() >= WORTH_A_LOOK
        return calendars.detect(readings, *self.distinct) if readings or in_doubt else None

    def _of_spelling(self, reading: NumberReading) -> TypedColumn:
        values, odd = apply(reading, self.cells)
        row = self._example(values, reading)
        parts = (*reading.before, *reading.powers, *reading.after)
        taken = [quoted(part) for part in dict.fromkeys(parts)]
        shown = tidy(self.cells[row - 1 : row])[0].as_py()
        if reading.grouping and re.search(f"[0-9]{re.escape(reading.grouping)}[0-9]", shown):
            taken.append(f"the thousands mark {reading.grouping!r}")
        detail = (
            f"{_count(~np.isnan(values))} read as numbers"
            + (f" without {', '.join(taken)}" if taken else "")
            + (", with a decimal comma" if reading.decimal == "," else "")
            + f": {_cell(self.cells, row)} is {values[row - 1]:.15g}. "
            + ("Every cell fits." if not odd.any() else f"{_count(odd)} did not fit.")
        )
        warnings = [ReadingWarning("read_as_numbers", self.name, detail, row)]
        warnings += self._noted(odd, "mixed_numbers", f"{AS_MISSING} not a number")
        return TypedColumn(
            pa.chunked_array([pa.array(values, from_pandas=True)]), warnings, reading
        )

    def _of_calendar(self, reading: DateReading) -> TypedColumn:
        encoded = self.cells.combine_chunks().dictionary_encode()  # most columns have few days
        places = encoded.indices.to_numpy()
        moments, odd = (found[places] for found in read_moments(reading, encoded.dictionary))
        row = _first(~np.isnat(moments))
        detail = (
            f"{_count(~np.isnat(moments))} read as dates such as {reading.format}: "
            f"{_cell(self.cells, row)} is {_minute(moments[row - 1])}. "
            + ("Every cell fits." if not odd.any() else f"{_count(odd)} did not fit.")
        )
        warning = ReadingWarning("read_as_dates", self.name, detail, row)
        return self._of_moments(moments, odd, [warning], reading)

    def _example(self, values: Floats, reading: NumberReading) -> int:
        """The first cell that shows the most removed parts."""
        shown = [
            part
            for part in (*reading.before, *reading.powers, *reading.after, reading.grouping)
            if part
        ]
        rows = np.flatnonzero(~np.isnan(values))[:EXAMPLES]
        cells = tidy(self.cells.take(pa.array(rows))).to_pylist()
        marks = [sum(part in cell for part in shown) for cell in cells]
        return int(rows[np.argmax(marks)]) + 1

    def _never(self, moments: Moments) -> list[ReadingWarning]:
        far = (moments < FIRST_DAY) | (moments >= LAST_DAY)  # false for NaT
        if not far.any():
            return []
        days, counts = np.unique(moments[far].astype("datetime64[D]"), return_counts=True)
        most = int(counts.argmax())
        detail = (
            f"{days[most]} in {counts[most]:,} of the {len(moments):,} rows looks like 'never'; "
            f"{_count(far)} in all lie before 1684 or after 2255. They train like any date: leave "
            "the cells empty if they mean that there is no date."
        )
        return [ReadingWarning("far_dates", self.name, detail, _first(far))]

    @cached_property
    def sample(self) -> pa.ChunkedArray:
        """A sample of the non-missing cells, from the first to the last."""
        rows = np.flatnonzero(self.present)
        places = np.unique(np.linspace(0, len(rows) - 1, SAMPLE).astype(int)) if len(rows) else rows
        return self.cells.take(pa.array(rows[places]))

    @cached_property
    def distinct(self) -> tuple[pa.Array, NDArray[np.int64]]:
        """The distinct non-missing cells, and how often each occurs."""
        counted = self.cells.filter(pa.array(self.present)).value_counts()
        return counted.field("values"), counted.field("counts").to_numpy()

    def _enough(self, kind: Mask) -> bool:
        return bool(kind.any()) and float(kind.sum()) >= ENOUGH * float(self.present.sum())

    def _match(self, chosen: Mask, pattern: str) -> Mask:
        """Which of the chosen cells match."""
        return matches(self.cells.filter(pa.array(chosen)), pattern)

    def _lost_digits(self, floats: Floats) -> Mask:
        """Which cells are whole numbers that float64 rounds."""
        long = np.abs(floats) >= EXACT
        if long.any():
            long[long] = self._match(long, WHOLE)
        texts = self.cells.filter(pa.array(long)).to_pylist()
        whole = [text.partition(".")[0][:MOST_DIGITS] for text in texts]
        long[long] = [int(text) != float(text) for text in whole]
        return long

    def _in_doubt(self, code: ReadingCode, found: Ambiguous) -> list[ReadingWarning]:
        row = _first(is_among(self.cells, pa.array([found.example])))
        detail = f"Cells such as {quoted(found.example)} {found.why}: {found.remedy}."
        return [ReadingWarning(code, self.name, detail, row)]

    def _noted(self, cells: Mask, code: ReadingCode, what: str) -> list[ReadingWarning]:
        if not cells.any():
            return []
        row = _first(cells)
        detail = f"{_count(cells)} {what} (row {row}: {_cell(self.cells, row)})."
        return [ReadingWarning(code, self.name, detail, row)]

    def _zeros_first(self) -> list[ReadingWarning]:
        zeros: Mask = pc.starts_with(self.cells, "0").to_numpy(zero_copy_only=False)
        if zeros.any():
            zeros = zeros.copy()
            zeros[zeros] = self._match(zeros, ZEROS_FIRST)
        what = (
            "with leading zeros are read as numbers without them: if they are codes, set the "
            "column's kind to 'categorical' in features.kinds"
        )
        return self._noted(zeros, "leading_zeros", what)

    def _compact_days(self, values: Floats) -> list[ReadingWarning]:
        if not calendars.are_compact_days(values[~np.isnan(values)]):
            return []
        what = "look like dates but are read as whole numbers: write 2010-07-31 for 20100731"
        return self._noted(~np.isnan(values), "ambiguous_dates", what)

    def _may_be_thousands(self, floats: Floats) -> bool:
        """Whether the points may be thousands marks: every cell is like 1.234."""
        known = np.abs(floats[~np.isnan(floats)])
        broken = known[known != np.floor(known)]
        if len(broken) > 0 and (broken.min() < 1 or broken.max() >= 1000):
            return False
        if not pc.any(pc.match_substring(self.cells, ".")).as_py():
            return False
        # The sample first: it rules out most columns in a fraction of the time.
        return all(matches(cells, GROUPED).all() for cells in (self.sample, self.distinct[0]))

    def _too_few(self, fits: Mask, code: ReadingCode, what: str) -> list[ReadingWarning]:
        share = float(fits.sum()) / max(1.0, float(self.present.sum()))
        if share < 0.5:
            return []
        row = _first(self.present & ~fits)
        detail = (
            f"{100 * share:.1f} % of the cells are {what}, too few for a column of {what}: the "
            f"column is read as words (row {row}: {_cell(self.cells, row)})."
        )
        return [ReadingWarning(code, self.name, detail, row)]


def is_booleans(texts: pa.Array | pa.ChunkedArray) -> bool:
    """Whether all of them are true or false, in lower or upper case."""
    return set(pc.utf8_lower(texts).unique().to_pylist()) <= {"true", "false"}


def _minute(moment: np.datetime64) -> str:
    """A date of any year; Python's own end with 9999."""
    return str(np.datetime_as_string(moment, unit="m")).replace("T", " ")


def _first(mask: Mask) -> int:
    return int(np.argmax(mask)) + 1


def _count(mask: Mask) -> str:
    count = int(mask.sum())
    return "1 cell" if count == 1 else f"{count:,} cells"


def _cell(cells: pa.ChunkedArray, row: int) -> str:
    return quoted(cells[row - 1].as_py())
