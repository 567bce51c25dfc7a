"""The separator of a CSV, and what a backslash means in it.

The header and the first rows decide together. A file with more than one possible reading is
refused.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from models.tables.faults import TableError, TableFault, quoted
from models.tables.quoting import BLANKS, Dialect, Rewriter

SEPARATORS = (",", ";", "\t", "|", "^")
NAMES_SHOWN = 5
# Lines of text may happen to have equal numbers of words; lines of numbers are table rows.
MOSTLY = 0.5

_SIGNS = re.compile(r"[,;|^~:!$*/\\]")  # used as separators by some files
_NUMBER = re.compile(r"[-+]?[0-9.,]*[0-9][0-9.,]*(?:[eE][-+]?[0-9]+)?%?")


@dataclass(frozen=True)
class Judgement:
    """How to read a file of `columns` columns.

    `hint`: what may be wrong with a header that most rows do not match. `notes`: assumptions made.
    """

    dialect: Dialect
    columns: int
    hint: str = ""
    notes: list[TableFault] = field(default_factory=list)


@dataclass(frozen=True)
class _Reading:
    """Number of cells in the header and in each row under a dialect.

    `is_clean`: every quoted cell closes right before a separator. `is_closed`: it closes at all.
    """

    dialect: Dialect
    header: int
    rows: list[int]
    is_clean: bool
    is_closed: bool = True

    @property
    def fits(self) -> bool:
        return self.is_closed and set(self.rows) == {self.header}

    @property
    def splits_rows(self) -> bool:
        return len(set(self.rows)) == 1 and self.rows[0] > 1

    @property
    def agreement(self) -> tuple[bool, int, bool, int]:
        """Higher is better: a header of several cells with clean quotes, rows that match it, a
        header of several cells, rows that match each other."""
        usual = max(Counter(count for count in self.rows if count > 1).values(), default=0)
        alike = self.rows.count(self.header) if self.header > 1 else 0
        return self.header > 1 and self.is_clean, alike, self.header > 1, usual


def judge(sample: bytes, separator: str | None, *, is_whole: bool) -> Judgement:
    """Choose the dialect from whole lines at the beginning of a file.

    Parameters
    ----------
    separator: the one that the user named.
    is_whole: whether the sample is the whole file.

    Raises
    ------
    TableError: more than one separator fits, or a comment stands above the header.
    """
    others = [other for other in SEPARATORS[1:] if other.encode() in sample]
    readings = []
    for candidate in [separator] if separator else [SEPARATORS[0], *others]:
        plain = _measure(sample, Dialect(candidate.encode()), is_whole=is_whole)
        readings.append(plain)
        if b'\\"' in sample and not plain.is_clean:
            escaped = Dialect(candidate.encode(), backslash=True)
            readings.append(_measure(sample, escaped, is_whole=is_whole))
    # Text after a closing quote is accepted only where no reading is clean.
    tiers = [
        [each for each in readings if each.is_clean and not each.dialect.backslash],
        [each for each in readings if each.is_clean and each.dialect.backslash],
        [each for each in readings if not each.is_clean and not each.dialect.backslash],
    ]
    for tier in tiers:
        fitting = [each for each in tier if each.fits and (each.header > 1 or separator)]
        if len(fitting) > 1:
            raise _ambiguous(sample, fitting)
        if fitting:
            _refuse_comment(sample, fitting[0].dialect)
            return Judgement(fitting[0].dialect, fitting[0].header)
    if separator is None and all(each.header == 1 for each in readings):
        aligned = _measure(sample, Dialect(b" "), is_whole=is_whole)
        is_table = aligned.splits_rows and aligned.is_clean
        if is_table and _share_of_numbers(sample, aligned.dialect) > MOSTLY:
            note = TableFault("Blanks were taken as the separator, because no other one fits.")
            hint = _hint(sample, aligned)
            return Judgement(aligned.dialect, aligned.header, hint, [note])
        whole = [each for tier in tiers for each in tier if each.dialect.separator == b","]
        one = next((each for each in whole if each.fits), None)
        if one and not any(each.splits_rows for each in readings):
            return Judgement(one.dialect, 1, notes=_one_column(sample, one, aligned))
    misfits = [each for each in readings if not each.fits]
    best = max(misfits or readings, key=lambda each: each.agreement)
    return Judgement(best.dialect, best.header, _hint(sample, best))


def cells(sample: bytes, dialect: Dialect) -> Iterator[list[str]]:
    """Cells of the header, then of each row."""
    text = Rewriter(dialect).feed(sample).decode(errors="replace")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter)
    return (record for record in reader if record)


def _measure(sample: bytes, dialect: Dialect, *, is_whole: bool) -> _Reading:
    is_clean = is_closed = True

    def mask(cell: re.Match[bytes]) -> bytes:
        nonlocal is_clean, is_closed
        is_closed = is_closed and bool(cell["close"])
        is_clean = is_clean and not cell["tail"].strip(BLANKS)
        return b'"'

    plain = dialect.quoted_cell.sub(mask, sample)
    header, *rows = [dialect.count(record) for record in plain.split(b"\n") if record]
    if not is_closed and not is_whole:  # the cell ends after the sample
        return _Reading(dialect, header, rows[:-1], is_clean)
    return _Reading(dialect, header, rows, is_clean and is_closed, is_closed)


def _ambiguous(sample: bytes, fitting: Sequence[_Reading]) -> TableError:
    separators = [each.dialect.separator.decode() for each in fitting]
    readings = [
        f"{separator!r} gives the columns {_shown(next(cells(sample, each.dialect)))}"
        for separator, each in zip(separators, fitting, strict=True)
    ]
    remedies = ["?separator=" + each.replace("\t", "%09") for each in separators]
    return TableError(
        f"The table can be read with {len(fitting)} separators: {'; '.join(readings)}. Name the "
        f"right one with {' or '.join(remedies)}, or put cells that contain the other one in "
        "double quotes."
    )


def _refuse_comment(sample: bytes, dialect: Dialect) -> None:
    if not sample.startswith(b"#"):
        return
    header, *rows = [*cells(sample, dialect)] or [[]]
    are_numbers = [any(map(_NUMBER.fullmatch, row)) for row in rows]
    if any(are_numbers) and not are_numbers[0]:
        raise TableError(
            f"The first line begins with '#' and was read as the header ({_shown(header)}), but "
            f"the line below it seems to hold the column names ({_shown(rows[0])}): remove the "
            "first line."
        )


def _share_of_numbers(sample: bytes, dialect: Dialect) -> float:
    rows = [*cells(sample, dialect)][1:]
    are_numbers = [bool(_NUMBER.fullmatch(cell)) for row in rows for cell in row]
    return sum(are_numbers) / max(1, len(are_numbers))


def _one_column(sample: bytes, one: _Reading, aligned: _Reading) -> list[TableFault]:
    """Why a table may have more columns than the one that was read."""
    detail = "No separator was found, so the table was read as one column."
    (header,), *rows = cells(sample, one.dialect)
    for sign in dict.fromkeys(_SIGNS.findall(header)):
        count = header.count(sign)
        if all(len(row) == 1 and row[0].count(sign) == count for row in rows):
            remedy = (
                "remove the double quotes around whole lines"
                if sign in SEPARATORS
                else f"upload it with ?separator={sign}"
            )
            return [TableFault(f"{detail} If {sign!r} separates {count + 1:,} columns, {remedy}.")]
    if aligned.header == 1:
        return []
    if aligned.fits:
        detail += f" If blanks separate {aligned.header} columns, upload it with ?separator=%20."
    return [TableFault(detail)]


def _hint(sample: bytes, best: _Reading) -> str:
    """Why most rows have one number of cells and the header another."""
    usual, times = max(Counter(best.rows).items(), key=lambda item: item[1], default=(0, 0))
    if usual in (0, best.header) or 2 * times < len(best.rows):
        return ""
    header, *rows = cells(sample, best.dialect)
    was_read = f" The header was read as {_shown(header)}."
    if usual != best.header + 1:
        return f"{was_read} If a title or a comment stands above the column names, remove it."
    if all(not row[-1] for row in rows if len(row) == usual):
        return f"{was_read} The rows end with a separator that the header lacks: remove it."
    is_one = best.header == 1 and best.dialect.separator == b","
    one = " If the table has one column whose cells contain commas, use ?separator=;."
    return (
        f"{was_read} If the first column holds row names, as R's write.table writes them, give it "
        "a name or write the table with write.csv(row.names=FALSE); if a title or a comment stands "
        "above the column names, remove it." + (one if is_one else "")
    )


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(quoted(" ".join(name.split())) for name in names[:NAMES_SHOWN]) + more
