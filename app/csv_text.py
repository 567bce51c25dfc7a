"""CSV that leaves the service."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")

Cell = str | float | None


def csv_lines(header: Sequence[str], batches: Iterable[Iterable[Sequence[Cell]]]) -> Iterator[str]:
    """The header and then each batch of rows as one piece of text.

    A float is written with as many digits as give the same float back.
    """
    yield _write([[neutral(name) for name in header]])
    for rows in batches:
        yield _write([[_cell(cell) for cell in row] for row in rows])


def neutral(text: str) -> str:
    """Text that a spreadsheet would run as a formula gets an apostrophe; a number stays one.

    >>> neutral("=HYPERLINK(1)"), neutral("-5.2e3"), neutral("-5+2")
    ("'=HYPERLINK(1)", '-5.2e3', "'-5+2")

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    if text.startswith(("=", "+", "-", "@", "\t", "\r")) and not NUMBER.fullmatch(text):
        return "'" + text
    return text


def _cell(cell: Cell) -> Cell:
    return neutral(cell) if isinstance(cell, str) else cell


def _write(rows: Iterable[Sequence[Cell]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
