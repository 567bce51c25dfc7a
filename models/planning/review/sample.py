"""The rows of a stored table that a review examines, a few columns at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.objectives import objective_of
from models.spec import TrainingSpec
from models.tables.profile import ColumnProfile, Profile
from models.tables.stored import read_first

MOST_ROWS = 100_000
# Fewer rows of wide tables are read, so that a review takes seconds.
MOST_CELLS = 20_000_000
COLUMNS_AT_ONCE = 16

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]


class Sample:
    """The first rows of a table that have a target.

    facets : (n, A) the target as numbers, see `Objective.facets`
    """

    def __init__(self, parquet: Path, profile: Profile, spec: TrainingSpec) -> None:
        """Raises TableDamaged."""
        self._parquet = parquet
        self._rows = min(MOST_ROWS, MOST_CELLS // len(profile.columns))
        cells = read_first(parquet, [spec.target], self._rows)[spec.target]
        objective = objective_of(spec)
        values = objective.read(cells, spec).values
        self._kept = np.flatnonzero(~np.isnan(values))
        self.facets: Numbers = objective.facets(values[self._kept])

    @property
    def target(self) -> Numbers:
        """(n,) the facet that shows most of it."""
        return self.facets[:, 0]

    def __len__(self) -> int:
        return len(self.facets)

    def read(
        self, columns: Sequence[ColumnProfile]
    ) -> Iterator[tuple[ColumnProfile, pa.ChunkedArray]]:
        """Yield each column with its n cells; raises TableDamaged."""
        for start in range(0, len(columns), COLUMNS_AT_ONCE):
            part = columns[start : start + COLUMNS_AT_ONCE]
            table = read_first(self._parquet, [column.name for column in part], self._rows)
            for column in part:
                yield column, table[column.name].take(self._kept)


def level_codes(cells: pa.ChunkedArray) -> tuple[Codes, int]:
    """(n,) the rank of each cell's value among the distinct ones, missing values last, and the
    number of ranks."""
    levels = pc.drop_null(cells.unique())
    ordered = levels.take(pc.sort_indices(levels))
    codes = pc.fill_null(pc.index_in(cells, value_set=ordered), len(ordered))
    return codes.to_numpy().astype(np.int64), len(ordered) + (cells.null_count > 0)


def standard_ranks(values: Numbers) -> Numbers:
    """Mean ranks of (n,) numbers with mean 0 and deviation 1; 0 for NaN, or if all are equal."""
    known = ~np.isnan(values)
    ranks = np.zeros(len(values))
    _, places, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    if len(counts) > 1:
        ranked = (np.cumsum(counts) - (counts - 1) / 2)[places]
        ranks[known] = (ranked - ranked.mean()) / ranked.std()
    return ranks
