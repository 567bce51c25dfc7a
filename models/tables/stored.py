"""Stored tables: Parquet files with page checksums."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from models.tables.profile import Profile, profile
from models.tables.spellings import UNSAID, Marks
from models.tables.table import Limits, read_table

BATCH_ROWS = 16_384  # decoded at once
# Reading the first rows of a table reads only one group of each column.
GROUP_ROWS = 100_000


class TableDamaged(Exception):
    """A stored table is missing, or its bytes have changed."""


def ingest(csv: Path, parquet: Path, limits: Limits, marks: Marks = UNSAID) -> Profile:
    """Read a CSV, write its typed columns, and return their profile.

    Raises
    ------
    TableError: the bytes are not a table that can be read without guessing.
    """
    typed = read_table(csv, limits, marks)
    pq.write_table(typed.table, parquet, row_group_size=GROUP_ROWS, write_page_checksum=True)
    found = profile(typed)
    del typed
    pa.default_memory_pool().release_unused()
    return found


def names_of(parquet: Path) -> list[str]:
    """The columns of a stored table.

    Raises
    ------
    TableDamaged
    """
    try:
        return list(pq.read_schema(parquet).names)
    except (pa.ArrowException, OSError) as error:
        raise TableDamaged(str(error)) from error


def read_columns(parquet: Path, names: Sequence[str]) -> pa.Table:
    """Some columns of a stored table.

    Raises
    ------
    TableDamaged
    """
    try:
        return pq.read_table(parquet, columns=list(names), page_checksum_verification=True)
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise TableDamaged(str(error)) from error


def read_first(parquet: Path, names: Sequence[str], rows: int) -> pa.Table:
    """At most `rows` first rows of some columns of a stored table.

    Raises
    ------
    TableDamaged
    """
    batches: list[pa.RecordBatch] = []
    left = rows
    try:
        with pq.ParquetFile(parquet, page_checksum_verification=True) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(names)):
                batches.append(batch.slice(0, left))
                left -= batches[-1].num_rows
                if left == 0:
                    break
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise TableDamaged(str(error)) from error
    return pa.Table.from_batches(batches)
