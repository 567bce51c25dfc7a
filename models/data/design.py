"""The table as arrays: numbers and level codes, the form in which networks take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.data.aside import set_holdout_aside
from models.data.features import Feature
from models.objectives.regression import fitting_transform
from models.spec import TrainingSpec
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
    target : (n,) float64 on its own scale
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


def choose_transform(parquet: Path, spec: TrainingSpec) -> TrainingSpec:
    """A resolved spec with the target transform that fits the rows that folds may see.

    Raises
    ------
    TableDamaged
    ValueError: the rows with a target have too few groups or times for a holdout.
    """
    table = read_columns(parquet, sorted(_target_and_folds(spec)))
    target, _, seen, _ = _targets(table, spec)
    known = summarize(target[seen])
    chosen = {"target_transform": fitting_transform(known.min, known.skewness)}
    return spec.model_copy(update={"preprocessing": spec.preprocessing.model_copy(update=chosen)})


def as_numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """float64 with NaN for missing; a date becomes seconds since 1970."""
    if pa.types.is_timestamp(column.type):
        microseconds = column.cast(pa.timestamp("us")).cast(pa.int64())
        # Beyond 2255 a float64 rounds them to the next: what the profile took is cast all the same.
        column = pc.divide(microseconds.cast(pa.float64(), safe=False), 1e6)
    values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    return values


def as_levels(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Words as they stand; a number becomes the shortest text of itself, 60 for 60.0."""
    if pa.types.is_floating(column.type):
        texts = [
            None if number is None else level_of(number) for number in column.unique().to_pylist()
        ]
        encoded = pc.index_in(column, value_set=column.unique())
        return pa.chunked_array([pa.array(texts, pa.string()).take(encoded.combine_chunks())])
    return column.cast(pa.string())


def level_of(number: float) -> str:
    """The level that a number is as a category."""
    return str(int(number)) if float(number).is_integer() and abs(number) < 2**53 else repr(number)


def encode(cells: pa.ChunkedArray, levels: list[str | None]) -> NDArray[np.int64]:
    """Codes of a column's cells; one that is no level, missing or not, has the code len(levels)."""
    found = pc.index_in(cells, value_set=pa.array(levels, pa.string()))
    codes: NDArray[np.int64] = pc.fill_null(found, len(levels)).to_numpy().astype(np.int64)
    return codes


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
    target, column = as_numbers(table[spec.target]), _fold_column(table, spec)
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
