"""The training rows that are most like a row to predict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.data.design import Codes, Numbers, read_seen
from models.serving.likeness import Places, Space, similarity
from models.serving.manifest import Manifest
from models.serving.reference import Vector
from models.spec import TrainingSpec
from models.tables.arrays import as_levels, as_numbers, encode

# Rows of the table that are placed together, and distances that are held at once.
PLACED_ROWS = 65_536
MOST_DISTANCES = 4_000_000
# Distances are rounded to so many digits, so that equal ones are ordered by row.
DIGITS = 9
LARGEST_INTEGER = 2**53
WORD_BYTES = 60  # of a Python object

Cell = float | str | None


@dataclass(frozen=True)
class Comparable:
    """A training row: its index in the table from 0, how like it is, its target and its cells."""

    row: int
    similarity: float
    actual: float | str
    values: dict[str, Cell]


class TrainingRows:
    """The r rows of a table that the folds of a model saw, as places (r, S) of its `Likeness`."""

    def __init__(self, parquet: Path, manifest: Manifest) -> None:
        """Read a model's table; the model must have a likeness.

        Raises
        ------
        TableDamaged
        """
        assert manifest.likeness is not None
        self.space = Space(manifest.likeness)
        self._manifest = manifest
        cells, self._target, self._rows = read_seen(
            parquet, TrainingSpec.model_validate(manifest.spec), by_importance(manifest)
        )
        self._places = np.empty((len(cells), self.space.width), np.float32)
        for start in range(0, len(cells), PLACED_ROWS):
            some = cells.slice(start, PLACED_ROWS)
            self._places[start : start + len(some)] = self.space.places(*self._encoded(some))
        self._squares = (self._places**2).sum(1)
        self._cells = {name: ShownCells(cells[name]) for name in cells.column_names}

    def __len__(self) -> int:
        return len(self._places)

    @property
    def memory_bytes(self) -> int:
        shown = sum(cells.memory_bytes for cells in self._cells.values())
        return int(self._places.nbytes + self._rows.nbytes + shown)

    def most_like(self, numbers: Numbers, codes: Codes, count: int) -> list[list[Comparable]]:
        """For each row, numbers (N, D) and codes (N, C), the `count` training rows most like it,
        the most similar first and equally similar ones in the table's order."""
        asked = self.space.places(numbers, codes)
        count = min(count, len(self))
        together = max(1, MOST_DISTANCES // max(1, len(self)))
        found = [
            self._nearest(asked[start : start + together], count)
            for start in range(0, len(asked), together)
        ]
        rows = np.concatenate([rows for rows, _ in found])  # (N, count)
        similar = similarity(np.concatenate([distance for _, distance in found])).tolist()
        cells = iter(self._shown(rows.ravel()))
        return [
            [
                Comparable(int(self._rows[row]), alike, self._actual(row), next(cells))
                for row, alike in zip(own, likes, strict=True)
            ]
            for own, likes in zip(rows.tolist(), similar, strict=True)
        ]

    def _nearest(self, asked: Places, count: int) -> tuple[Codes, Vector]:
        """(N, count) rows and distances. A matrix product finds those that may be the nearest; its
        rounding errors matter among close rows, so their distances are computed again."""
        about = self._squares - 2 * asked @ self._places.T  # (N, r), without asked²
        farthest = np.partition(about, count - 1, axis=1)[:, count - 1]
        sizes = np.sqrt((asked**2).sum(1)) + np.sqrt(self._squares.max())
        error = np.finfo(np.float32).eps * (self.space.width + 8) * sizes**2
        rows = np.empty((len(asked), count), np.int64)
        distances = np.empty((len(asked), count))
        for place, limit in enumerate(farthest + 2 * error):
            near = np.flatnonzero(about[place] <= limit)
            away = self._places[near].astype(np.float64) - asked[place]
            distance = np.round(np.sqrt((away * away).sum(1)), DIGITS)
            order = np.argsort(distance, kind="stable")[:count]
            rows[place], distances[place] = near[order], distance[order]
        return rows, distances

    def _encoded(self, cells: pa.Table) -> tuple[Numbers, Codes]:
        """numbers (r, D) and codes (r, C) of rows of the table."""
        numbers = np.empty((len(cells), len(self._manifest.numeric)))
        codes = np.empty((len(cells), len(self._manifest.categorical)), np.int64)
        for place, number in enumerate(self._manifest.numeric):
            numbers[:, place] = as_numbers(cells[number.name])
        for place, word in enumerate(self._manifest.categorical):
            codes[:, place] = encode(as_levels(cells[word.name]), word.levels)
        return numbers, codes

    def _actual(self, row: int) -> float | str:
        value = float(self._target.values[row])
        return self._target.levels[int(value)] if self._target.levels else value

    def _shown(self, rows: Codes) -> list[dict[str, Cell]]:
        """The cells of some rows as a JSON row to predict would have them."""
        columns = [cells.of(rows) for cells in self._cells.values()]
        return [dict(zip(self._cells, row, strict=True)) for row in zip(*columns, strict=True)]


class ShownCells:
    """A column of a stored table: numbers, dates, or codes of its distinct words; (r,).

    Looking cells up in Arrow's arrays takes fifteen times as long.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._words: NDArray[np.object_] | None = None
        if pa.types.is_string(column.type):
            encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
            words = encoded.dictionary.to_pylist()
            self._words = np.array([*words, None], object)  # the last one is missing
            self._cells = pc.fill_null(encoded.indices, len(words)).to_numpy()
            self.memory_bytes = encoded.nbytes + WORD_BYTES * len(words)
        else:
            self._cells = column.to_numpy()
            self.memory_bytes = self._cells.nbytes

    def of(self, rows: Codes) -> list[Cell]:
        """Of some rows: numbers, dates as ISO 8601, words; None is missing."""
        cells = self._cells[rows]
        if self._words is not None:
            words: list[Cell] = self._words[cells].tolist()
            return words
        if cells.dtype.kind == "M":
            return [None if np.isnat(moment) else iso_date(moment) for moment in cells]
        return [json_number(number) for number in cells.tolist()]


def expected_bytes(manifest: Manifest, rows: int) -> int:
    """About the memory that `TrainingRows` take, without long words."""
    assert manifest.likeness is not None
    return rows * (4 * manifest.likeness.width + 8 * (len(manifest.columns) + 1))


def by_importance(manifest: Manifest) -> list[str]:
    """The model's columns, the most important first."""
    return [row.column for row in manifest.importance]


def iso_date(moment: np.datetime64) -> str:
    """
    >>> iso_date(np.datetime64("2010-07-31T00:00:00.000000"))
    '2010-07-31'
    """
    return str(np.datetime_as_string(moment, unit="auto"))


def json_number(number: float) -> float | None:
    """A whole number without a decimal point, and None for NaN."""
    if number.is_integer():
        return int(number) if abs(number) < LARGEST_INTEGER else number
    return None if math.isnan(number) else number
