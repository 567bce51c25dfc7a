"""Writes CSV that is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

NUMBER = re.compile(r" *[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)? *", re.ASCII)
# What spreadsheets take off or do not show, and then a sign that begins a formula, also as wide as
# a Chinese character or as small as one's part. Line breaks and tabs begin a cell of their own.
FORMULA = re.compile(
    r"[\t\n\v\f\r\x85\u2028\u2029]"
    r"|[\s\0-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u202a-\u202f\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]*"
    r"[=+\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b]"
)

Cell = str | float | None


def csv_lines(header: Sequence[str], batches: Iterable[Iterable[Sequence[Cell]]]) -> Iterator[str]:
    """Yield the header, then each batch of rows, as text.

    A float has as many digits as are needed to read the same float back.
    """
    yield _write([[neutral(name) for name in header]])
    for rows in batches:
        yield _write([[_cell(cell) for cell in row] for row in rows])


def neutral(text: str) -> str:
    """Prefix text that a spreadsheet would run as a formula with an apostrophe; keep numbers.

    >>> neutral("=HYPERLINK(1)"), neutral("-5.2e3"), neutral("-5+2")
    ("'=HYPERLINK(1)", '-5.2e3', "'-5+2")

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    if FORMULA.match(text) and not NUMBER.fullmatch(text):
        return "'" + text
    return text


def _cell(cell: Cell) -> Cell:
    return neutral(cell) if isinstance(cell, str) else cell


def _write(rows: Iterable[Sequence[Cell]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
