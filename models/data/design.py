"""The table as arrays of numbers and level codes, as networks need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.data.aside import set_holdout_aside
from models.data.features import Feature
from models.objectives import objective_of
from models.objectives.base import TargetColumn
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

    A level's code is its index. None is the level of missing cells, if there were any. Levels that
    are not in the list have the code `unknown`. `numbers`: the table holds numbers. `reading`: how
    they were read from its texts.
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
    target : (n,) float64, as the objective reads it: a number on its own scale, or a class's index
    levels : the classes; empty for a number
    rows : (n,) the row's index in the table, from 0
    fold_column : (n,) groups or times of `group` and `time` folds
    coordinates : indices of the two columns of `numbers` that locate a row
    readings : of numeric columns whose texts are not plain numbers or dates
    """

    numeric: list[str]
    numeric_kinds: list[Literal["numeric", "datetime"]]
    categorical: list[Vocabulary]
    numbers: Numbers
    codes: Codes
    target: NDArray[np.float64]
    rows: NDArray[np.int64]
    fold_column: NDArray[np.float64] | NDArray[np.int64] | None
    levels: tuple[str, ...] = ()
    coordinates: tuple[int, int] | None = None
    readings: dict[str, Reading] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.target)


def load_design(
    parquet: Path, spec: TrainingSpec, features: list[Feature]
) -> tuple[Design, Design]:
    """Load the columns of a resolved spec: rows that folds may see, and the holdout.

    Rows without a target are left out. Levels are taken from the rows that folds may see.

    Raises
    ------
    TableDamaged
    ValueError: the rows with a target have too few groups or times for a holdout.
    """
    names = [feature.name for feature in features]
    table = read_columns(parquet, [*names, *sorted(_target_and_folds(spec) - set(names))])
    read, column, seen, holdout = _targets(table, spec)
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
    if pair == "auto":  # resolved by an earlier version without coordinates
        pair = None

    def design(rows: NDArray[np.int64]) -> Design:
        return Design(
            numeric=numeric,
            numeric_kinds=[f.kind for f in features if f.kind != "categorical"],
            categorical=categorical,
            numbers=_columns(numbers, rows, np.float64),
            codes=_columns(codes, rows, np.int64),
            target=read.values[rows],
            levels=read.levels,
            rows=rows,
            fold_column=None if column is None else column[rows],
            coordinates=(numeric.index(pair[0]), numeric.index(pair[1])) if pair else None,
            readings={name: readings[name] for name in numeric if name in readings},
        )

    return design(seen), design(holdout)


def read_seen(
    parquet: Path, spec: TrainingSpec, names: list[str]
) -> tuple[pa.Table, TargetColumn, Codes]:
    """The rows that folds may see, of a resolved spec: n rows of some columns as they are stored,
    their targets, and their indices (n,) in the table, from 0.

    Raises
    ------
    TableDamaged
    """
    table = read_columns(parquet, [*names, *sorted(_target_and_folds(spec) - set(names))])
    read, _, seen, _ = _targets(table, spec)
    is_seen = np.zeros(len(table), bool)
    is_seen[seen] = True
    cells = table.select(names).filter(pa.array(is_seen))
    return cells, replace(read, values=read.values[seen]), seen


def read_folds(parquet: Path, spec: TrainingSpec) -> tuple[Numbers, Numbers | Codes | None, Codes]:
    """The targets of the rows that folds may see, of a resolved spec, their groups or times, and
    their indices in the table; (n,) each.

    Raises
    ------
    TableDamaged
    """
    table = read_columns(parquet, sorted(_target_and_folds(spec)))
    read, column, seen, _ = _targets(table, spec)
    return read.values[seen], None if column is None else column[seen], seen


def read_levels(parquet: Path, spec: TrainingSpec) -> tuple[str, ...]:
    """The classes of the target of a resolved spec; none of a number. Raises TableDamaged."""
    column = read_columns(parquet, [spec.target])[spec.target]
    return objective_of(spec).read(column, spec).levels


def complete_spec(parquet: Path, spec: TrainingSpec) -> TrainingSpec:
    """Complete a resolved spec by the targets of the rows that folds may see.

    Raises
    ------
    TableDamaged
    ValueError: the rows with a target have too few groups or times for a holdout.
    """
    table = read_columns(parquet, sorted(_target_and_folds(spec)))
    read, _, seen, _ = _targets(table, spec)
    known = summarize(read.values[seen])
    return objective_of(spec).complete(spec, known.min, known.skewness)


def cell_faults(parquet: Path, spec: TrainingSpec) -> list[tuple[str, str]]:
    """Why the target's cells do not fit a resolved spec: JSON pointers into it, and details.

    Raises
    ------
    TableDamaged
    """
    column = read_columns(parquet, [spec.target])[spec.target]
    return objective_of(spec).faults_of_cells(spec, column)


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
) -> tuple[TargetColumn, Numbers | Codes | None, Codes, Codes]:
    """The target and the groups or times of the table's rows, which rows folds may see, and which
    are the holdout."""
    objective, column = objective_of(spec), _fold_column(table, spec)
    target = objective.read(table[spec.target], spec)
    rows = np.flatnonzero(~np.isnan(target.values))
    seen, holdout = set_holdout_aside(
        spec,
        len(rows),
        None if column is None else column[rows],
        objective.strata_aside(target.values[rows]),
    )
    return target, column, rows[seen], rows[holdout]


def _fold_column(table: pa.Table, spec: TrainingSpec) -> Numbers | Codes | None:
    if spec.folds.column is None:
        return None
    column = table[spec.folds.column]
    if spec.folds.type == "time":
        return as_numbers(column)
    groups = as_levels(column)
    return encode(groups, groups.unique().to_pylist())  # missing cells are one group
