"""From the bytes of a CSV to a table of typed columns, by the rules of docs/reading-tables.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from models.tables.cells import read_floats
from models.tables.columns import ReadingWarning, type_column
from models.tables.faults import TableError, TableFault
from models.tables.header import HEAD_BYTES, read_header
from models.tables.readings import Reading
from models.tables.row_reader import read_rows
from models.tables.spellings import UNSAID, Marks

__all__ = [
    "Blocks",
    "Limits",
    "ReadingWarning",
    "TableError",
    "TableFault",
    "TypedTable",
    "read_table",
]


@dataclass(frozen=True)
class Limits:
    """The largest table that is read."""

    max_rows: int
    max_columns: int


@dataclass(frozen=True)
class TypedTable:
    """`table`: columns of float64 (numbers), timestamp("us") (dates, UTC) and string (words); null
    is missing. `warnings`: what was odd. `readings`: for columns whose texts are not plain numbers
    or dates."""

    table: pa.Table
    warnings: list[ReadingWarning]
    readings: dict[str, Reading] = field(default_factory=dict)


def read_table(source: Path | BinaryIO, limits: Limits, marks: Marks = UNSAID) -> TypedTable:
    """Read a CSV and decide for every column whether it holds numbers, dates or words.

    Parameters
    ----------
    source: a path, or a stream, which is read from its present position and not closed.
    marks: the user's choice where a separator or numbers can be read in two ways.

    Raises
    ------
    TableError: the bytes are not a table that can be read without guessing.
    """
    if isinstance(source, Path):
        with source.open("rb") as stream:
            return read_table(stream, limits, marks)
    blocks = Blocks(source, limits, marks.separator)
    text = pa.Table.from_batches(blocks)
    columns: list[pa.ChunkedArray] = []
    warnings = [*blocks.warnings, *_missing_header(text)]
    readings: dict[str, Reading] = {}
    for name, cells in zip(text.column_names, text.columns, strict=True):
        column = type_column(name, cells, marks)
        columns.append(column.cells)
        warnings += column.warnings
        if column.reading is not None:
            readings[name] = column.reading
    return TypedTable(pa.table(columns, names=text.column_names), warnings, readings)


class Blocks:
    """The rows of a CSV as written, one block at a time. Every column is a string without nulls,
    trimmed.

    Parameters
    ----------
    source: read from its present position to its end, and not closed.
    separator: one character, a blank for runs of blanks; None: detect it.

    Raises
    ------
    TableError: the bytes are not a table that can be read without guessing. A fault in a later
        block is raised when that block is read.
    """

    def __init__(self, source: IO[bytes], limits: Limits, separator: str | None = None) -> None:
        head = b""
        while len(head) < HEAD_BYTES and (part := source.read(HEAD_BYTES - len(head))):
            head += part
        if head.endswith(b"\r"):
            head += source.read(1)  # so that no line break is cut in two
        self._header = read_header(head, limits.max_columns, separator)
        self._source = source
        self._max_rows = limits.max_rows

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        rows = 0
        for batch in read_rows(self._header, self._source):
            rows += batch.num_rows
            if rows > self._max_rows:
                raise TableError(
                    f"The table has more than {self._max_rows:,} rows, the limit of this server."
                )
            yield batch
        if rows == 0:
            raise TableError(
                "The table has a header and no rows: it needs at least one row below it."
            )

    @property
    def warnings(self) -> list[ReadingWarning]:
        """Assumptions made for the rows so far."""
        return [
            ReadingWarning("dialect", note.column, note.detail, note.row)
            for note in [*self._header.notes, *self._header.rows.notes]
        ]


def _missing_header(text: pa.Table) -> list[ReadingWarning]:
    """Warns if the names look like a row: all numbers, or numbers and words of their columns."""
    _, is_word = read_floats(pa.chunked_array([pa.array(text.column_names)]))
    words = [name for name, odd in zip(text.column_names, is_word, strict=True) if odd]
    if not (~is_word).any() or not all(_holds(text[name], name) for name in words):
        return []
    what = "holds numbers and words that also occur below it" if words else "holds only numbers"
    detail = f"The first line was taken as column names, but {what}."
    return [ReadingWarning("numeric_header", None, detail, None)]


def _holds(cells: pa.ChunkedArray, word: str) -> bool:
    return bool(pc.any(pc.equal(cells, word)).as_py())
