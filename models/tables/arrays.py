"""Columns of a stored table as arrays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def as_numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """float64 with NaN for missing; a date becomes seconds since 1970."""
    if pa.types.is_timestamp(column.type):
        microseconds = column.cast(pa.timestamp("us")).cast(pa.int64())
        # Beyond 2255 float64 rounds. The cast must accept what the profile did.
        column = pc.divide(microseconds.cast(pa.float64(), safe=False), 1e6)
    values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    return values


def as_levels(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Words unchanged; a number becomes its shortest text, 60 for 60.0."""
    if pa.types.is_floating(column.type):
        texts = [
            None if number is None else level_of(number) for number in column.unique().to_pylist()
        ]
        encoded = pc.index_in(column, value_set=column.unique())
        return pa.chunked_array([pa.array(texts, pa.string()).take(encoded.combine_chunks())])
    return column.cast(pa.string())


def level_of(number: float) -> str:
    """The level of a number in a categorical column."""
    return str(int(number)) if float(number).is_integer() and abs(number) < 2**53 else repr(number)


def encode(cells: pa.ChunkedArray, levels: list[str | None]) -> NDArray[np.int64]:
    """Codes of a column's cells. A cell that is not a level, missing or not, has len(levels)."""
    found = pc.index_in(cells, value_set=pa.array(levels, pa.string()))
    codes: NDArray[np.int64] = pc.fill_null(found, len(levels)).to_numpy().astype(np.int64)
    return codes
