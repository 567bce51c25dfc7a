"""The rows of a CSV as text. Anything that needs guessing is refused."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from models.tables.faults import TableError, TableFault, quoted
from models.tables.header import Header
from models.tables.quoting import LONGEST_RECORD, too_long

BLOCK_BYTES = LONGEST_RECORD  # read at a time; pyarrow needs each row within two adjacent blocks
MAX_FAULTS = 20  # ragged rows named in one error

_UNDECODABLE = re.compile("[\udc80-\udcff]")  # how "surrogateescape" decodes invalid bytes


def read_rows(header: Header, rest: IO[bytes]) -> Iterator[pa.RecordBatch]:
    """Trimmed cells, one batch per block.

    Parameters
    ----------
    rest: a stream of the bytes after the head.

    Raises
    ------
    TableError: ragged rows, an endless row, a quote that never closes, cells that are not text.
    """
    stream = _TextStream(header, rest)
    rows = 0
    for batch in _parse(stream, header):
        columns = []
        for name, cells in zip(header.names, batch.columns, strict=True):
            if stream.has_nul:
                nul = pc.index(pc.match_substring(cells, "\0"), True).as_py()
                if nul >= 0:
                    raise _no_text(rows + nul + 1, name, stream.undecodable)
            columns.append(pc.utf8_trim_whitespace(cells))
        yield pa.RecordBatch.from_arrays(columns, names=header.names)
        rows += batch.num_rows


class _TextStream(io.RawIOBase):
    """The bytes below the header as valid UTF-8, quoted in a form that pyarrow accepts.

    Invalid bytes become NUL, which no cell may contain, so that the row and column are found in
    the parsed table. pyarrow cannot find them itself: it silently drops a ragged row that it cannot
    decode for its handler of such rows.
    """

    def __init__(self, header: Header, rest: IO[bytes]) -> None:
        self.has_nul = self.undecodable = False  # in what was read so far
        self._parts = [io.BytesIO(header.rest), rest]
        # pyarrow loses the line feed of a quoted CR LF that spans two blocks. So every line break
        # becomes a line feed first.
        self._decoder = io.IncrementalNewlineDecoder(
            codecs.getincrementaldecoder("utf-8")("surrogateescape"), translate=True
        )
        self._rows = header.rows
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._pending and self._parts:
            data = self._parts[0].read(BLOCK_BYTES)
            if data:
                self._pending = memoryview(self._rows.feed(self._valid(data)))
            else:
                del self._parts[0]
                if not self._parts:
                    self._pending = memoryview(self._rows.close())
        count = min(len(buffer), len(self._pending))
        buffer[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count

    def _valid(self, data: bytes) -> bytes:
        text = self._decoder.decode(data)
        try:
            valid = text.encode()
        except UnicodeEncodeError:
            self.undecodable = True
            valid = _UNDECODABLE.sub("\0", text).encode()
        self.has_nul = self.has_nul or b"\0" in valid
        return valid


def _parse(stream: _TextStream, header: Header) -> Iterator[pa.RecordBatch]:
    """The cells as they are in the file."""
    faults: list[TableFault] = []

    def note(row: csv.InvalidRow) -> str:
        cells = "1 cell" if row.actual_columns == 1 else f"{row.actual_columns:,} cells"
        detail = f"Row {row.number:,} has {cells} where the header has {len(header.names):,}."
        faults.append(TableFault(detail, row=row.number))
        return "skip" if len(faults) < MAX_FAULTS else "error"

    rows = 0
    buffered = io.BufferedReader(stream, BLOCK_BYTES)
    if not buffered.peek():
        return
    try:
        with csv.open_csv(
            buffered,
            # Threads gain nothing here (measured), and without them pyarrow counts rows.
            csv.ReadOptions(column_names=header.names, block_size=BLOCK_BYTES, use_threads=False),
            csv.ParseOptions(
                delimiter=header.rows.dialect.delimiter,
                newlines_in_values=True,
                invalid_row_handler=note,
            ),
            csv.ConvertOptions(column_types=dict.fromkeys(header.names, pa.string())),
        ) as reader:
            for batch in reader:
                if faults:
                    break
                if batch.num_rows > 0:
                    yield batch
                    rows += batch.num_rows
    except pa.ArrowInvalid:
        if not faults:
            raise too_long(rows + 1) from None
    if faults:
        raise _ragged(faults, header)


def _ragged(faults: list[TableFault], header: Header) -> TableError:
    separator = header.rows.dialect.separator.decode()
    return TableError(
        f"{faults[0].detail[:-1]} (separated by {separator!r}): every row needs as many cells as "
        f"the header. Put cells that contain the separator in double quotes.{header.hint}",
        faults,
    )


def _no_text(row: int, column: str, undecodable: bool) -> TableError:
    what, remedy = (
        ("is not valid UTF-8", "save the table as CSV in UTF-8")
        if undecodable
        else ("contains a NUL byte", "remove it")
    )
    return TableError(
        f"Row {row:,}, column {quoted(column)} {what}: {remedy}.",
        [TableFault(f"The cell {what}.", row=row, column=column)],
    )
