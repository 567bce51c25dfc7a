"""Where a lesson trains: the engine that jobs use, on tables that are read as uploads are."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray

from models.artifacts import EarlierModel
from models.data.design import Design, complete_spec, load_design
from models.data.features import select
from models.data.folds import FoldRows, roles_of, split_rows
from models.data.preprocessing import trainable_rows
from models.data.roles import write_roles
from models.epochs import FoldEpoch
from models.evaluation.blend import blend
from models.evaluation.scores import OutOfFold, refine
from models.export.served import ServedModel, predict
from models.export.weights import weights_file
from models.objectives import objective_of
from models.objectives.metrics import Metrics
from models.objectives.trained import learning_of
from models.planning.resolve import resolve
from models.planning.review.started import find_roles
from models.spec import TrainingSpec
from models.tables.arrays import as_levels, as_numbers, encode
from models.tables.profile import Profile
from models.tables.stored import ingest
from models.tables.table import Limits, read_table
from models.training.earlier import read_networks
from models.training.engine import TrainedPopulation
from models.training.progress import Course, MemberEpoch, Monitor
from models.training.runs import train_many

LIMITS = Limits(max_rows=1_000_000, max_columns=1_000)

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """A spec, trained on all folds.

    trained : of the spec, or of each member of a blend
    epochs : of each fold, the mean over its members; of a blend none
    """

    frame: pd.DataFrame
    spec: TrainingSpec
    design: Design
    folds: list[FoldRows]
    trained: list[TrainedPopulation]
    epochs: list[FoldEpoch]
    served: ServedModel

    @cached_property
    def out_of_fold(self) -> OutOfFold:
        return refine(self.served, self.spec, self.design, self.folds)

    @property
    def prediction(self) -> Vector:
        """(n, …) out of fold; of classes their probabilities, in the order of `design.levels`."""
        return self.out_of_fold.prediction

    @property
    def actual(self) -> Vector:
        """(n,) numbers, or places of classes among `design.levels`."""
        return self.design.target

    @cached_property
    def fold_metrics(self) -> list[Metrics]:
        """Of each fold's scored rows."""
        learning = learning_of(self.spec)
        return [
            learning.fold_metrics(
                self.served.fold(place).target,
                self.actual[rows],
                self.prediction[rows],
                self.actual,
            )
            for place, rows in enumerate(self.scored)
        ]

    @cached_property
    def metrics(self) -> Metrics:
        """Of the pooled out-of-fold predictions."""
        rows = np.concatenate(self.scored)
        return learning_of(self.spec).fold_metrics(
            self.served.fold(0).target, self.actual[rows], self.prediction[rows], self.actual[rows]
        )

    @property
    def scored(self) -> list[NDArray[np.int64]]:
        """The rows that each served fold scores."""
        return [self.folds[number].validation for number in self.served.folds]

    @property
    def courses(self) -> list[Course]:
        """Of the members, fold by fold; of a blend those of its first member."""
        return self.trained[0].courses

    def curve(self, figure: str, fold: int | None = None) -> tuple[list[float], list[float]]:
        """Epochs and a field of `FoldEpoch`, such as `train_loss`: of a fold, or the mean over the
        folds that still train. Epochs in which it is unknown are left out."""
        by_epoch: dict[int, list[float]] = {}
        for row in self.epochs:
            value = getattr(row, figure)
            if value is not None and fold in (None, row.fold):
                by_epoch.setdefault(row.epoch, []).append(value)
        epochs = sorted(by_epoch)
        return [float(epoch) for epoch in epochs], [float(np.mean(by_epoch[e])) for e in epochs]

    def predict(self, frame: pd.DataFrame, fold: int | None = None) -> Vector:
        """(n, …) of new rows with the same columns, by the served model or that of one fold."""
        served = self.served if fold is None else self.served.fold(fold)
        rows = self.encode(frame)
        return predict(served, rows.numbers, rows.codes).values

    def encode(self, frame: pd.DataFrame) -> Design:
        """New rows as the model takes them; they need no target."""
        with tempfile.TemporaryDirectory() as folder:
            csv = Path(folder) / "rows.csv"
            frame.to_csv(csv, index=False)
            table = read_table(csv, LIMITS).table
        known = self.design
        numbers = [as_numbers(_numeric(table[name])) for name in known.numeric]
        codes = [encode(as_levels(table[own.name]), own.levels) for own in known.categorical]
        count = len(table)
        return dataclasses.replace(
            known,
            numbers=np.array(numbers, np.float64).reshape(-1, count).T,
            codes=np.array(codes, np.int64).reshape(-1, count).T,
            target=np.full(count, np.nan),
            rows=np.arange(count),
            fold_column=None,
        )


class Lab:
    """Trains specs on tables; its files are removed at the end.

    A spec without `architecture` is one network (`effort: quick`).
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._tables: dict[int, tuple[pd.DataFrame, Path, Profile]] = {}
        self.cores = len(os.sched_getaffinity(0))

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    def train(self, frame: pd.DataFrame, **spec: Any) -> Run:
        """Train one spec."""
        (run,) = self.train_together(frame, [spec])
        return run

    def train_together(
        self,
        frame: pd.DataFrame,
        specs: Sequence[Mapping[str, Any]],
        start: Run | None = None,
    ) -> list[Run]:
        """Train specs of one table that lay the same folds, as populations; from the networks of
        `start`, a run of one such network, if it is given."""
        resolved = [self.resolve(frame, **spec) for spec in specs]
        _, parquet, profile = self._stored(frame)
        design, _ = load_design(parquet, resolved[0], select(resolved[0], profile))
        earlier = None if start is None else self._earlier(start)
        roles = None if earlier is None else find_roles(earlier, parquet).of[design.rows]
        laid = split_rows(resolved[0], design.target, design.fold_column, roles)
        folds = [trainable_rows(resolved[0].preprocessing, design, fold) for fold in laid]
        trials = [spec.trials() for spec in resolved]
        monitor = _Epochs()
        trained = train_many(
            [trial for own in trials for trial in own],
            design,
            folds,
            device=torch.device("cpu"),
            monitor=monitor,
            cores=self.cores,
            earlier=() if earlier is None else read_networks(earlier.weights, 1) * len(resolved),
        )
        runs, first = [], 0
        for spec, own in zip(resolved, trials, strict=True):
            populations = trained[first : first + len(own)]
            served, _ = blend(spec, populations, design, folds)
            epochs = monitor.of_trial(first) if spec.members is None else []
            runs.append(Run(frame, spec, design, folds, populations, epochs, served))
            first += len(own)
        return runs

    def resolve(self, frame: pd.DataFrame, **spec: Any) -> TrainingSpec:
        """The spec with every default filled in for the table."""
        _, parquet, profile = self._stored(frame)
        given = TrainingSpec.model_validate({"effort": "quick", **spec})
        found = resolve(given, profile)
        return found if objective_of(found).is_complete(found) else complete_spec(parquet, found)

    def _earlier(self, run: Run) -> EarlierModel:
        """A run as a model to start from."""
        _, parquet, profile = self._stored(run.frame)
        weights, roles = parquet.with_suffix(".safetensors"), parquet.with_suffix(".roles.parquet")
        weights.write_bytes(weights_file(run.served, run.design, [0]))
        write_roles(roles_of(run.folds, run.design.rows, profile.rows), roles)
        columns = (*run.spec.features.kinds, run.spec.target)
        return EarlierModel("the earlier run", columns, True, weights, roles, parquet)

    def _stored(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, Path, Profile]:
        """The frame written as a CSV and read as an upload."""
        if id(frame) not in self._tables:
            number = len(self._tables)
            csv = Path(self._folder.name) / f"{number}.csv"
            parquet = csv.with_suffix(".parquet")
            frame.to_csv(csv, index=False)
            # The frame is kept, so that its id stays its own.
            self._tables[id(frame)] = frame, parquet, ingest(csv, parquet, LIMITS)
        return self._tables[id(frame)]


class _Epochs(Monitor):
    """Keeps every epoch of every member."""

    def __init__(self) -> None:
        self._rows: list[MemberEpoch] = []

    def epoch_ended(self, metrics: list[MemberEpoch], active: Sequence[Any]) -> None:  # noqa: ARG002
        self._rows += metrics

    def of_trial(self, trial: int) -> list[FoldEpoch]:
        """The mean over the members of each fold, by epoch."""
        groups: dict[tuple[int, int], list[MemberEpoch]] = {}
        for row in self._rows:
            if row.member.trial == trial:
                groups.setdefault((row.epoch, row.fold), []).append(row)
        return [FoldEpoch.mean(groups[key]) for key in sorted(groups)]


def _numeric(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column whose cells are all missing is read as text."""
    return column.cast(pa.float64()) if pa.types.is_null(column.type) else column
