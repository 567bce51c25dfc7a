"""Finds a value in a column of a stored table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.tables.cells import parse_dates, parse_numbers
from models.tables.profile import ColumnProfile
from models.tables.readings import DateReading, NumberReading, read_moments, read_numbers
from models.tables.stored import BATCH_ROWS, TableDamaged


def rows_with(file: BinaryIO, column: ColumnProfile, value: str) -> Iterator[int]:
    """The rows whose cell is `value`, from 1 below the header. Only the column is read.

    Words are equal whatever their case and their form in Unicode (NFKC). In a column of numbers or
    dates, `value` is read as its cells were: `$1,200` is 1200.

    Raises
    ------
    TableDamaged
    """
    sought = _cell(column, value)
    if not sought.is_valid:
        return
    row = 1
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as table:
            for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=[column.name]):
                [cells] = batch.columns
                if column.storage == "text":
                    cells = _alike(cells)
                found = pc.equal(cells, sought.cast(cells.type)).fill_null(False)
                yield from (np.flatnonzero(found) + row).tolist()
                row += batch.num_rows
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise TableDamaged(str(error)) from error


def _cell(column: ColumnProfile, value: str) -> pa.Scalar:
    """What a cell of the column would hold; null if none could."""
    text = pc.utf8_trim_whitespace(pa.array([value]))
    if column.storage == "text":
        return _alike(text)[0]
    cells = pa.chunked_array([text])
    reading = column.reading
    read: np.ndarray
    if isinstance(reading, DateReading):
        read, _ = read_moments(reading, cells)
    elif isinstance(reading, NumberReading):
        read = read_numbers(reading, cells)
    else:
        parse = parse_dates if column.storage == "datetime" else parse_numbers
        read, _ = parse(cells)
    return pa.array(read, from_pandas=True)[0]


def _alike(texts: pa.Array) -> pa.Array:
    """Equal for texts that differ in case, or in how Unicode writes the same characters."""
    return pc.utf8_lower(pc.utf8_normalize(texts, form="NFKC"))
