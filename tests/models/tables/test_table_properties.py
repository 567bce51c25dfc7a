"""What holds of every CSV: a written table is read back, and any bytes at all are answered."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, BinaryIO

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.tables.dialect import SEPARATORS
from models.tables.row_reader import MAX_FAULTS
from models.tables.table import Blocks, Limits, TableError, TypedTable, read_table

LIMITS = Limits(max_rows=1000, max_columns=20)
LINE_BREAKS = ["\n", "\r\n", "\r"]
BREAKS = re.compile(r"\s*[\r\n]\s*")
QUOTINGS = [csv.QUOTE_MINIMAL, csv.QUOTE_ALL]

# Derandomized, so that a run of CI fails only for what was changed.
many = settings(max_examples=200, deadline=None, derandomize=True)
some = settings(many, max_examples=100)

# NUL is refused, and half a character cannot be written. In a name a byte order mark could be that
# of the file.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
cells = st.text(
    st.one_of(st.sampled_from(' \t,;|"\r\n\'\u00a0\ufeff'), characters), max_size=8
)  # fmt: skip
names = cells.map(str.strip).filter(lambda name: name and "\ufeff" not in name)


@dataclass(frozen=True)
class Written:
    """A table of texts and a file that holds it."""

    names: list[str]
    rows: list[list[str]]
    data: bytes


@st.composite
def written_tables(draw: st.DrawFn) -> Written:
    """Every separator, line break and way to quote that docs/reading-tables.md allows."""
    header = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    rows = draw(_rows(len(header)))
    return Written(header, rows, draw(_files(header, rows)))


def _rows(width: int) -> st.SearchStrategy[list[list[str]]]:
    return st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=8)


@st.composite
def _files(draw: st.DrawFn, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """A file of these rows, which may be ragged."""
    separator = draw(st.sampled_from(SEPARATORS))
    line_break = draw(st.sampled_from(LINE_BREAKS))
    text = io.StringIO(newline="")
    text.write(draw(st.sampled_from(["", "\ufeff"])))
    for place, row in enumerate([header, *rows]):
        quoting = draw(st.sampled_from(QUOTINGS))
        # The csv module leaves other line breaks than its own unquoted before Python 3.13; and
        # with an unquoted separator in a name, in a table of one column or in ragged rows, two
        # readings may fit.
        is_ragged = any(len(row) != len(header) for row in rows)
        may_fit = place == 0 or len(header) == 1 or is_ragged
        special = ["\r", "\n", *(SEPARATORS if may_fit else [])]
        if any(character in cell for character in special for cell in row):
            quoting = csv.QUOTE_ALL
        writer = csv.writer(text, delimiter=separator, lineterminator=line_break, quoting=quoting)
        writer.writerow(row)
        text.write(line_break * draw(st.integers(0, 2)))  # blank lines do not count
    data = text.getvalue()
    return (data if draw(st.booleans()) else data.rstrip(line_break)).encode()


def read(data: str | bytes) -> TypedTable:
    return read_table(io.BytesIO(data.encode() if isinstance(data, str) else data), LIMITS)


def as_read(text: str) -> str:
    """A cell as it is read: line breaks become LF, spaces around it are dropped."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


@many
@given(written_tables())
def test_a_written_table_is_read_back(table: Written) -> None:
    """Cell for cell, whatever the separator, line breaks, quotes and byte order mark."""
    read = pa.Table.from_batches(Blocks(io.BytesIO(table.data), LIMITS))

    assert read.column_names == [BREAKS.sub(" ", name) for name in table.names]
    assert [list(row.values()) for row in read.to_pylist()] == [
        [as_read(cell) for cell in row] for row in table.rows
    ]


@pytest.mark.parametrize("breaks", [1, 63])
def test_line_breaks_at_the_end_of_the_last_cell_are_read(breaks: int) -> None:
    """They are not taken for those behind a double quote that never closes."""
    data = b'a,b\n1,"x' + b"\n" * breaks + b'"\n'
    read = pa.Table.from_batches(Blocks(io.BytesIO(data), LIMITS))
    assert read.to_pylist() == [{"a": "1", "b": "x"}]


numbers = st.lists(
    st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**53), 2**53)),
    min_size=1,
    max_size=20,
)


@many
@given(numbers)
def test_a_number_written_with_repr_is_read_as_itself(numbers: list[float]) -> None:
    """Bit for bit, the sign of zero included."""
    lines = [f"{number!r},1" for number in [*numbers, 0.5]]  # 0.5 shows what the point is
    typed = read("x,other\n" + "\n".join(lines))

    expected = [float(number).hex() for number in numbers]
    assert [number.hex() for number in typed.table["x"].to_pylist()[:-1]] == expected
    assert typed.warnings == []


# What a CSV is made of, whole and broken.
PIECES = [b'"', b'""', b",", b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b" ", b"a", b"b,", b"1"]
PIECES += [b"1e400", b"nan", b"2020-02-30", b"1,234", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xf0\x9f"]
pieces = st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join)
tables = written_tables().map(lambda table: table.data)
any_bytes = st.one_of(
    pieces,
    pieces.map(lambda rows: b"a,b\n1,2\n" + rows),
    st.binary(max_size=200),
    tables,
)


def outcome(source: BinaryIO) -> Any:
    """What there is to compare of a reading: the table and its warnings, or the refusal."""
    try:
        typed = read_table(source, LIMITS)
    except TableError as error:
        return error.detail, error.faults
    return typed.table, typed.warnings


def test_any_bytes_give_a_table_or_a_reason() -> None:
    """A TableError that says why, and in which row and column, or a table; never another error."""
    outcomes: set[type] = set()

    @settings(many, max_examples=400)
    @given(any_bytes)
    def read_any(data: bytes) -> None:
        try:
            found: TypedTable | TableError = read(data)
        except TableError as error:
            found = error
        outcomes.add(type(found))
        if isinstance(found, TableError):
            assert found.detail.strip(), data
            for fault in found.faults:
                assert fault.detail.strip(), data
                assert fault.row is None or fault.row >= 1, data
        else:
            assert found.table.num_rows >= 1, data
            assert all(found.table.column_names), data
            for warning in found.warnings:
                assert warning.detail.strip(), data
                assert warning.row is None or 1 <= warning.row <= found.table.num_rows, data

    read_any()
    assert outcomes == {TypedTable, TableError}


@st.composite
def ragged_files(draw: st.DrawFn) -> tuple[bytes, dict[int, int]]:
    """A file, and the number of cells of each of its rows that has too few or too many; of one
    column, another separator might give a table without any."""
    header = draw(st.lists(names, min_size=2, max_size=4, unique=True))
    rows = draw(_rows(len(header)))
    widths = st.integers(1, 6).filter(lambda width: width != len(header))
    places = st.integers(1, len(rows))
    ragged = draw(st.dictionaries(places, widths, min_size=1))
    for place, width in ragged.items():
        rows[place - 1] = draw(st.lists(cells, min_size=width, max_size=width))
    return draw(_files(header, rows)), ragged


@many
@given(ragged_files())
def test_faults_name_the_ragged_rows(file: tuple[bytes, dict[int, int]]) -> None:
    """Each by its number, from 1 below the header; blank lines and breaks in cells count none."""
    data, ragged = file
    with pytest.raises(TableError) as refusal:
        read(data)

    faults = refusal.value.faults
    assert [fault.row for fault in faults] == sorted(ragged)[:MAX_FAULTS]
    assert refusal.value.detail.startswith(f"Row {min(ragged)} has "), refusal.value.detail
    for fault in faults:
        assert fault.row is not None
        count = ragged[fault.row]
        assert f" has {count} cell" in fault.detail, fault.detail


class ShortReads(io.RawIOBase):
    """A stream that gives fewer bytes than it is asked for, as a socket or a pipe does."""

    def __init__(self, data: bytes, sizes: Sequence[int]) -> None:
        self._data = io.BytesIO(data)
        self._sizes: Iterator[int] = cycle(sizes)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._data.read(min(len(buffer), next(self._sizes)))
        buffer[: len(chunk)] = chunk
        return len(chunk)


sizes = st.lists(st.integers(1, 20), min_size=1, max_size=5)


@some
@given(any_bytes, sizes)
@example(b"a,b\n1,2\n", [3])
def test_reading_is_the_same_however_the_bytes_come(data: bytes, sizes: list[int]) -> None:
    """The same table and warnings, or the same refusal, from a stream that reads short."""
    chunked: Any = ShortReads(data, sizes)
    assert outcome(chunked) == outcome(io.BytesIO(data))


@some
@given(tables, sizes)
def test_buffering_hides_how_the_bytes_come(data: bytes, sizes: list[int]) -> None:
    """As above behind a BufferedReader, which is how a file is read."""
    chunked = io.BufferedReader(ShortReads(data, sizes), buffer_size=8)
    assert outcome(chunked) == outcome(io.BytesIO(data))
