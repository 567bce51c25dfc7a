"""The table as arrays: numbers and level codes, the form in which networks take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.data.aside import set_holdout_aside
from models.data.features import Feature
from models.objectives import objective_of
from models.spec import TrainingSpec
from models.tables.arrays import as_levels, as_numbers, encode
from models.tables.kinds import MAX_LEVELS
from models.tables.readings import Reading
from models.tables.statistics import summarize
from models.tables.stored import read_columns

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Vocabulary:
    """The levels of one categorical column, the most frequent first.

    A level's code is its place. None is the level of missing cells, there if any was missing.
    A level that is not in the list has the code `unknown`. `numbers`: the table holds numbers, and
    `reading` is how they came out of its texts.
    """

    name: str
    levels: list[str | None]
    numbers: bool
    reading: Reading | None = None

    @property
    def unknown(self) -> int:
        return len(self.levels)


@dataclass(frozen=True)
class Design:
    """Rows of a table that have a target.

    numbers : (n, D) float64, NaN is missing; dates are seconds since 1970
    codes : (n, C) int64, codes of the vocabularies
    target : (n,) float64, as the objective reads it: a number on its own scale
    rows : (n,) the row's place in the table, from 0
    fold_column : (n,) groups or times of `group` and `time` folds
    coordinates : places of the two columns of `numbers` that say where a row is
    readings : of the numeric columns whose texts are no plain numbers or dates
    """

    numeric: list[str]
    numeric_kinds: list[Literal["numeric", "datetime"]]
    categorical: list[Vocabulary]
    numbers: Numbers
    codes: Codes
    target: NDArray[np.float64]
    rows: NDArray[np.int64]
    fold_column: NDArray[np.float64] | NDArray[np.int64] | None
    coordinates: tuple[int, int] | None = None
    readings: dict[str, Reading] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.target)


def load_design(
    parquet: Path, spec: TrainingSpec, features: list[Feature]
) -> tuple[Design, Design]:
    """The columns that a resolved spec needs: the rows that folds may see, and the holdout.

    Rows without a target are left out. The levels are those of the former rows.

    Raises
    ------
    TableDamaged
    ValueError: the rows with a target have too few groups or times for a holdout.
    """
    names = [feature.name for feature in features]
    table = read_columns(parquet, [*names, *sorted(_target_and_folds(spec) - set(names))])
    target, column, seen, holdout = _targets(table, spec)
    numeric = [feature.name for feature in features if feature.kind != "categorical"]
    wordy = [feature.name for feature in features if feature.kind == "categorical"]
    words = [as_levels(table[name]) for name in wordy]
    readings = {f.name: f.reading for f in features if f.reading is not None}
    categorical = [
        Vocabulary(
            name,
            _levels(cells.take(pa.array(seen))),
            pa.types.is_floating(table[name].type),
            readings.get(name),
        )
        for name, cells in zip(wordy, words, strict=True)
    ]
    numbers = [as_numbers(table[name]) for name in numeric]
    codes = [encode(cells, known.levels) for cells, known in zip(words, categorical, strict=True)]
    pair = spec.features.coordinates
    if pair == "auto":  # resolved by a version that knew none
        pair = None

    def design(rows: NDArray[np.int64]) -> Design:
        return Design(
            numeric=numeric,
            numeric_kinds=[f.kind for f in features if f.kind != "categorical"],
            categorical=categorical,
            numbers=_columns(numbers, rows, np.float64),
            codes=_columns(codes, rows, np.int64),
            target=target[rows],
            rows=rows,
            fold_column=None if column is None else column[rows],
            coordinates=(numeric.index(pair[0]), numeric.index(pair[1])) if pair else None,
            readings={name: readings[name] for name in numeric if name in readings},
        )

    return design(seen), design(holdout)


def complete_spec(parquet: Path, spec: TrainingSpec) -> TrainingSpec:
    """A resolved spec with what the rows that folds may see say of the target.

    Raises
    ------
    TableDamaged
    ValueError: the rows with a target have too few groups or times for a holdout.
    """
    table = read_columns(parquet, sorted(_target_and_folds(spec)))
    target, _, seen, _ = _targets(table, spec)
    known = summarize(target[seen])
    return objective_of(spec).complete(spec, known.min, known.skewness)


def _levels(cells: pa.ChunkedArray) -> list[str | None]:
    counts = cells.value_counts()
    pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    ranked = sorted(pairs, key=lambda pair: (-pair[1], pair[0] is None, pair[0] or ""))
    return [level for level, _ in ranked[:MAX_LEVELS]]


def _columns(columns: Sequence[np.ndarray], rows: np.ndarray, dtype: type) -> np.ndarray:
    if not columns:
        return np.empty((len(rows), 0), dtype)
    return np.column_stack([column[rows] for column in columns])


def _target_and_folds(spec: TrainingSpec) -> set[str]:
    return {spec.target} | ({spec.folds.column} if spec.folds.column else set())


def _targets(
    table: pa.Table, spec: TrainingSpec
) -> tuple[Numbers, Numbers | Codes | None, Codes, Codes]:
    """Of the table's rows the target and the groups or times, and which rows folds may see, and
    which are the holdout."""
    target, column = objective_of(spec).read(table[spec.target]), _fold_column(table, spec)
    rows = np.flatnonzero(~np.isnan(target))
    seen, holdout = set_holdout_aside(spec, len(rows), None if column is None else column[rows])
    return target, column, rows[seen], rows[holdout]


def _fold_column(table: pa.Table, spec: TrainingSpec) -> Numbers | Codes | None:
    if spec.folds.column is None:
        return None
    column = table[spec.folds.column]
    if spec.folds.type == "time":
        return as_numbers(column)
    groups = as_levels(column)
    return encode(groups, groups.unique().to_pylist())  # missing is a group of its own
