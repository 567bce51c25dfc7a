"""From the bytes of a CSV to a table of typed columns, by the rules of docs/reading-tables.md."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from models.data.cells import read_floats
from models.data.columns import ReadingWarning, type_column
from models.data.faults import TableError, TableFault, quoted
from models.data.header import HEAD_BYTES, Header, read_header

__all__ = [
    "Limits",
    "ReadingWarning",
    "TableError",
    "TableFault",
    "TypedTable",
    "read_table",
    "read_text",
]

BLOCK_BYTES = 8 * 1024 * 1024  # read at a time; a row must lie within two neighbouring blocks
MAX_FAULTS = 20  # ragged rows named in one error

# Blank lines are skipped between rows, but swallowed by a quoted cell that never closes: a last
# cell that ends with these shows one. pyarrow itself takes the end of the file for the quote.
END_MARK = b"\n" * 64


@dataclass(frozen=True)
class Limits:
    """The largest table that is read."""

    max_rows: int
    max_columns: int


@dataclass(frozen=True)
class TypedTable:
    """`table`: columns of float64 (numbers), timestamp("us") (dates, UTC) and string (words); null
    is missing. `warnings`: what was odd in reading them."""

    table: pa.Table
    warnings: list[ReadingWarning]


def read_table(source: Path | BinaryIO, limits: Limits) -> TypedTable:
    """Read a CSV and decide for every column whether it holds numbers, dates or words.

    Raises
    ------
    TableError: the bytes are no table that can be read without guessing.
    """
    text = read_text(source, limits)
    columns: list[pa.ChunkedArray] = []
    warnings = _numeric_header(text.column_names)
    for name, cells in zip(text.column_names, text.columns, strict=True):
        column, odd = type_column(name, cells)
        columns.append(column)
        warnings += odd
    return TypedTable(pa.table(columns, names=text.column_names), warnings)


def read_text(source: Path | BinaryIO, limits: Limits) -> pa.Table:
    """Read a CSV as it is written: every column a string without nulls, trimmed.

    A stream is read from its present position to its end and not closed.

    Raises
    ------
    TableError: the bytes are no table that can be read without guessing.
    """
    if isinstance(source, Path):
        with source.open("rb") as stream:
            return read_text(stream, limits)
    head = source.read(HEAD_BYTES)
    header = read_header(head, limits.max_columns)
    body = _Body(io.BytesIO(head[header.length :]), source, io.BytesIO(END_MARK))
    batches: list[pa.RecordBatch] = []
    rows = 0
    for batch in _batches(body, header):
        if rows + batch.num_rows > limits.max_rows:
            raise TableError(
                f"The table has more than {limits.max_rows:,} rows, the limit of this server."
            )
        batches.append(_decode(batch, first_row=rows + 1))
        rows += batch.num_rows
    if rows == 0:
        raise TableError("The table has a header and no rows: it needs at least one row below it.")
    return pa.Table.from_batches(batches)


class _Body(io.RawIOBase):
    """Streams one after another."""

    def __init__(self, *parts: BinaryIO) -> None:
        self._parts = parts

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        for part in self._parts:
            if data := part.read(len(buffer)):
                buffer[: len(data)] = data
                return len(data)
        return 0


def _batches(body: _Body, header: Header) -> Iterator[pa.RecordBatch]:
    """The rows as batches of binary cells, as they stand in the file.

    Raises
    ------
    TableError: ragged rows, an endless row, a quote that never closes.
    """
    faults: list[TableFault] = []

    def note(row: csv.InvalidRow) -> str:
        cells = "1 cell" if row.actual_columns == 1 else f"{row.actual_columns:,} cells"
        detail = f"Row {row.number:,} has {cells} where the header has {len(header.names):,}."
        faults.append(TableFault(detail, row=row.number))
        return "skip" if len(faults) < MAX_FAULTS else "error"

    rows = 0
    last = None
    try:
        for batch in csv.open_csv(
            io.BufferedReader(body, BLOCK_BYTES),
            # Threads gain nothing here (measured), and without them pyarrow counts rows.
            csv.ReadOptions(column_names=header.names, block_size=BLOCK_BYTES, use_threads=False),
            csv.ParseOptions(
                delimiter=header.separator, newlines_in_values=True, invalid_row_handler=note
            ),
            csv.ConvertOptions(column_types=dict.fromkeys(header.names, pa.binary())),
        ):
            if faults:
                break
            yield batch
            rows += batch.num_rows
            last = batch
    except pa.ArrowInvalid:
        if not faults:
            detail = f"Row {rows + 1:,} is longer than {BLOCK_BYTES // 2**20} MiB"
            raise TableError(
                f"{detail}, or a double quote in it never closes.",
                [TableFault(f"{detail} or never ends.", row=rows + 1)],
            ) from None
    if faults:
        raise TableError(
            f"{faults[0].detail[:-1]} (separated by {header.separator!r}): every row needs as many "
            "cells as the header, and a cell that contains the separator stands in double quotes.",
            faults,
        )
    if last is not None and last.columns[-1][-1].as_py().endswith(END_MARK):
        raise TableError(
            f"Row {rows:,} opens a double quote that never closes: close it, or double it if it "
            "belongs to the cell.",
            [TableFault("A double quote never closes.", row=rows, column=header.names[-1])],
        )


def _decode(batch: pa.RecordBatch, first_row: int) -> pa.RecordBatch:
    """Binary cells to trimmed strings, refusing what is no text."""
    columns = []
    for name, cells in zip(batch.schema.names, batch.columns, strict=True):
        try:
            text = cells.cast(pa.string())
        except pa.ArrowInvalid:
            row = first_row + next(i for i, cell in enumerate(cells) if not _is_utf8(cell.as_py()))
            raise _bad_cell(row, name, "is not valid UTF-8: save the table in UTF-8") from None
        nul = pc.index(pc.match_substring(text, "\0"), True).as_py()
        if nul >= 0:
            raise _bad_cell(first_row + nul, name, "contains a NUL byte: remove it")
        columns.append(pc.utf8_trim_whitespace(text))
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


def _bad_cell(row: int, column: str, what: str) -> TableError:
    return TableError(
        f"Row {row:,}, column {quoted(column)} {what}.",
        [TableFault(f"The cell {what}.", row=row, column=column)],
    )


def _numeric_header(names: list[str]) -> list[ReadingWarning]:
    _, words = read_floats(pa.array(names))
    if words.any():
        return []
    detail = "The first line was taken as column names, but holds only numbers."
    return [ReadingWarning("numeric_header", None, detail, None)]
