"""Finds where quoted cells end, and rewrites them in a form that every reader understands alike.

Exports include this module and those that it imports, so it needs nothing but numpy. Bytes are
UTF-8 with LF line breaks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.tables.faults import TableError, TableFault, quoted

LONGEST_RECORD = 2 * 1024 * 1024  # bytes
BLANKS = b" \t"
QUOTE, LINE_FEED = b'"\n'

# Within quotes, a backslash before a double quote or another backslash.
_ESCAPED = re.compile(rb'\\(["\\])|""')
_RUNS = re.compile(rb"[ \t]+")
_EDGES = re.compile(rb"(?<=\n)\t|\t(?=\n)")

_ODDITIES = {
    "space": "{} a blank before the opening double quote, which is dropped",
    "tail": "{} text after the closing double quote: it is kept without the quotes",
    "backslash": "{} a backslash before a double quote: it is read as a double quote",
}


@dataclass(frozen=True)
class Dialect:
    """How to split lines into cells. `separator`: one byte; a blank means runs of blanks.
    `backslash`: within quotes `\\"` is a double quote, as `""` always is."""

    separator: bytes
    backslash: bool = False

    @property
    def delimiter(self) -> str:
        """The separator in a `Rewriter`'s output."""
        return "\t" if self.is_blank else self.separator.decode()

    @property
    def is_blank(self) -> bool:
        return self.separator == b" "

    @cached_property
    def quoted_cell(self) -> re.Pattern[bytes]:
        """A quoted cell to its end.

        It consists of blanks before the quote, the quoted text, the closing quote (unless the text
        ends first), and what is between that and the separator. A quote opens a cell only at its
        start; elsewhere it is an ordinary character (5" pipe). The pattern is possessive, so that
        a hostile line cannot make it backtrack.
        """
        stops = (BLANKS if self.is_blank else re.escape(self.separator)) + rb"\n"
        lead = b"" if self.is_blank else b"[%b]*" % BLANKS.replace(self.separator, b"")
        inner = rb'(?:[^"\\]|""|\\.)*+' if self.backslash else rb'(?:[^"]|"")*+'
        return re.compile(
            rb'(?<![^%b])(?P<lead>%b)"(?P<inner>%b)(?P<close>"?)(?P<tail>[^%b]*)'
            % (stops, lead, inner, stops),
            re.DOTALL,
        )

    def count(self, record: bytes) -> int:
        """Number of cells of a record whose quoted cells were replaced, so hold no separator."""
        return len(record.split()) if self.is_blank else record.count(self.separator) + 1


class Rewriter:
    """Passes on whole records, quoted by RFC 4180, and records what was odd about them.

    The first record is the header, which is row 0.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.names: list[str] = []  # of the columns, after the header was read
        self._records = 0  # passed on
        self._held = b""
        self._counts: Counter[str] = Counter()
        self._firsts: dict[str, tuple[int, int]] = {}  # row, column
        self._beside = np.zeros(256, bool)  # bytes that may stand next to a regular quote
        self._beside[[*dialect.separator, LINE_FEED, QUOTE]] = True

    @property
    def notes(self) -> list[TableFault]:
        """Assumptions made for the records so far, with the first place of each."""
        found = []
        for kind, (row, place) in self._firsts.items():
            count = self._counts[kind]
            cells = "1 cell has" if count == 1 else f"{count:,} cells have"
            detail = f"{_ODDITIES[kind].format(cells)} (first: {self._where(row, place)})."
            found.append(TableFault(detail, row or None, self._name(place)))
        return found

    def end_of_first(self, text: bytes) -> int:
        """Length in bytes of the first record with its line break; 0 if it does not end."""
        end = 0
        for cell in self.dialect.quoted_cell.finditer(text):
            if (found := text.find(b"\n", end, cell.start())) >= 0:
                return found + 1
            end = cell.end()
        return text.find(b"\n", end) + 1

    def feed(self, data: bytes) -> bytes:
        """The records that are complete so far.

        Raises
        ------
        TableError: a record is too long, or a quoted cell is ambiguous.
        """
        text = self._held + data
        codes = np.frombuffer(b"\n%b\n" % text, np.uint8)
        quotes = np.flatnonzero(codes == QUOTE)
        breaks = np.flatnonzero(codes[1:-1] == LINE_FEED)
        cells: list[re.Match[bytes]] = []
        if self._is_regular(codes, quotes):
            is_outside = np.searchsorted(quotes - 1, breaks) % 2 == 0
        else:
            cells = [*self.dialect.quoted_cell.finditer(text)]
            starts, ends = np.array([cell.span() for cell in cells], int).reshape(-1, 2).T
            is_outside = np.searchsorted(starts, breaks) == np.searchsorted(ends, breaks, "right")
        breaks = breaks[is_outside]
        length = int(breaks[-1]) + 1 if len(breaks) else 0
        self._held = text[length:]
        if len(self._held) > LONGEST_RECORD:
            raise too_long(self._records)
        records = breaks[codes[breaks] != LINE_FEED]  # ends of records; blank lines are not records
        piece = self._rewrite(text[:length], cells, records)
        self._records += len(records)
        return piece

    def close(self) -> bytes:
        """The last record, which may have no line break.

        Raises
        ------
        TableError: as for `feed`, or a double quote never closes.
        """
        last = self.feed(b"\n") if self._held else b""
        if self._held:
            *_, cell = self.dialect.quoted_cell.finditer(self._held)
            raise self._refusal(
                self._records,
                self._place(self._held[: cell.start()]),
                "opens a double quote that never closes",
                "close it, or double it within quotes if it belongs to the cell",
            )
        return last

    def _is_regular(self, codes: NDArray[np.uint8], quotes: NDArray[np.intp]) -> bool:
        """Whether every quote opens right after a separator, closes right before one, or is double.

        Found without looking at each cell: every second regular quote opens one.
        """
        if (self.dialect.backslash or self.dialect.is_blank) and len(quotes):
            return False
        opening, closing = codes[quotes[0::2] - 1], codes[quotes[1::2] + 1]
        return bool(self._beside[opening].all() and self._beside[closing].all())

    def _rewrite(
        self, piece: bytes, cells: Iterable[re.Match[bytes]], records: NDArray[np.intp]
    ) -> bytes:
        parts, end = [], 0
        for cell in cells:
            if cell.start() >= len(piece):
                break
            parts += [
                self._separated(piece[end : cell.start()]),
                self._regular(cell, piece, records),
            ]
            end = cell.end()
        whole = b"".join([*parts, self._separated(piece[end:])])
        return whole.removeprefix(b"\t") if self.dialect.is_blank else whole

    def _separated(self, text: bytes) -> bytes:
        """Text between quoted cells; separating blanks become a tab."""
        if not self.dialect.is_blank:
            return text
        return _EDGES.sub(b"", _RUNS.sub(b"\t", text))

    def _regular(self, cell: re.Match[bytes], piece: bytes, records: NDArray[np.intp]) -> bytes:
        """A quoted cell rewritten by RFC 4180."""
        lead, inner, tail = cell["lead"], cell["inner"], cell["tail"]
        kind = (
            "tail"
            if tail.strip(BLANKS)
            else "space"
            if lead
            else "backslash"
            if self.dialect.backslash and b'\\"' in inner
            else None
        )
        if kind is not None:
            line = int(np.searchsorted(records, cell.start()))
            start = int(records[line - 1]) + 1 if line else 0
            row, place = self._records + line, self._place(piece[start : cell.start()])
            # Two readings are possible and neither is better.
            if kind == "tail" and (lead or b"\n" in inner or inner.endswith(b"\\")):
                raise self._refusal(
                    row,
                    place,
                    "has text after its closing double quote",
                    "double each quote that belongs to the cell",
                )
            self._counts[kind] += 1
            self._firsts.setdefault(kind, (row, place))
        if self.dialect.backslash:
            inner = _ESCAPED.sub(lambda pair: pair[1] or b'"', inner)
        elif kind is None and not tail:
            return cell.group()
        else:
            inner = inner.replace(b'""', b'"')
        return b'"%b"' % (inner + tail).replace(b'"', b'""')

    def _place(self, before: bytes) -> int:
        """The index of the cell that follows a part of a record."""
        return self.dialect.count(self.dialect.quoted_cell.sub(b'"', before) + b"x") - 1

    def _name(self, place: int) -> str | None:
        return self.names[place] if place < len(self.names) else None

    def _where(self, row: int, place: int) -> str:
        name = self._name(place)
        column = f"{place + 1:,}" if name is None else quoted(name)
        return f"row {row:,}, column {column}" if row else f"the header, column {column}"

    def _refusal(self, row: int, place: int, what: str, remedy: str) -> TableError:
        where = self._where(row, place)
        return TableError(
            f"{where[0].upper()}{where[1:]} {what}: {remedy}.",
            [TableFault(f"The cell {what}.", row=row or None, column=self._name(place))],
        )


def too_long(row: int) -> TableError:
    """The error for a row, counted from 1, or for the header, 0."""
    record = f"Row {row:,}" if row else "The header"
    return TableError(
        f"{record} does not end within {LONGEST_RECORD // 2**20} MiB: a line break is missing, or "
        "a double quote never closes.",
        [TableFault("The row does not end.", row=row or None)],
    )
