"""Rows to train on and rows never seen, alike for every library that is compared.

All have the same columns: those that foldhouse would take, with a missing word as a level of its
own and a missing number as NaN. All learn the logarithm of a positive target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from benchmarks.houses import CORES, Task, stored
from models.export.served import ServedModel, predict
from models.planning.resolve import resolve
from models.spec import TrainingSpec
from models.tables.arrays import as_levels, as_numbers
from models.tables.profile import profile
from models.tables.table import TypedTable

ROUND = 5  # splits, from 0 on
MISSING = "missing"

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Contest:
    """`train` and `unseen` hold all columns; x and y are what the rivals take.

    y : the target, or its logarithm where `log` says so
    """

    target: str
    log: bool
    numeric: list[str]
    categorical: list[str]
    train: pa.Table
    unseen: pa.Table
    x: pd.DataFrame
    y: Vector
    x_unseen: pd.DataFrame
    y_unseen: Vector

    def learnt(self, values: Vector) -> Vector:
        """On the scale that is learnt and scored."""
        return np.log(values) if self.log else values


@dataclass(frozen=True)
class Trained:
    """What foldhouse makes of a contest's training rows."""

    task: Task
    served: ServedModel

    def predict(self, contest: Contest) -> Vector:
        """What it serves for the unseen rows."""
        return self._predict(contest, self.served)

    def predict_by_fold(self, contest: Contest) -> list[Vector]:
        """The same from the models of each fold alone."""
        places = range(len(self.served.folds))
        return [self._predict(contest, self.served.fold(place)) for place in places]

    def _predict(self, contest: Contest, served: ServedModel) -> Vector:
        unseen = self.task.encode(contest.unseen)
        return contest.learnt(predict(served, unseen.numbers, unseen.codes).values)


def deal(rows: pa.Table, target: str, split: int) -> Contest:
    """Hold a fifth of the rows out at random; in a round of five splits each row once."""
    dealt, place = divmod(split, ROUND)
    splits = KFold(ROUND, shuffle=True, random_state=dealt).split(np.arange(len(rows)))
    train, unseen = list(splits)[place]
    numeric, categorical = columns_of(TrainingSpec(target=target), rows.take(train))
    x = frame_of(rows, numeric, categorical)
    values = as_numbers(rows[target])
    log = bool(values.min() > 0)
    y = np.log(values) if log else values
    return Contest(
        target,
        log,
        numeric,
        categorical,
        rows.take(train),
        rows.take(unseen),
        x.iloc[train],
        y[train],
        x.iloc[unseen],
        y[unseen],
    )


def columns_of(spec: TrainingSpec, rows: pa.Table) -> tuple[list[str], list[str]]:
    """The numeric and the categorical columns that foldhouse would take of these training rows."""
    kinds = resolve(spec, profile(TypedTable(rows, warnings=[]))).features.kinds
    numeric = [name for name, kind in kinds.items() if kind == "numeric"]
    return numeric, [name for name, kind in kinds.items() if kind == "categorical"]


def frame_of(rows: pa.Table, numeric: list[str], categorical: list[str]) -> pd.DataFrame:
    """These columns as the rivals take them."""
    return pd.DataFrame(
        {name: as_numbers(rows[name]) for name in numeric}
        | {name: _levels(rows[name]) for name in categorical}
    )


def train(contest: Contest, cores: int = CORES, **spec: object) -> Trained:
    """Read the training rows as a job would, resolve a spec on them and train it."""
    transform = {"target_transform": "log" if contest.log else "none"}
    with stored(contest.train, contest.target) as table:
        task = table.load(table.resolve(**{"preprocessing": transform, **spec}))
        return Trained(task, task.serve(cores))


def error(actual: Vector, predicted: Vector) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean((actual - predicted) ** 2)))


def _levels(column: pa.ChunkedArray) -> pd.Series:
    levels = pd.Series(as_levels(column).to_pylist(), dtype=object)
    return levels.fillna(MISSING).astype("category")
