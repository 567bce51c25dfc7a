"""Tables, and what foldhouse makes of them without a service around it."""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from models.data.design import Design, complete_spec, load_design
from models.data.features import select
from models.data.folds import FoldRows, split_rows
from models.evaluation.blend import blend
from models.export.served import ServedModel
from models.machine import core_rate
from models.objectives import objective_of
from models.planning.estimate import PROCESS_BYTES, Machine, estimate
from models.planning.resolve import resolve
from models.spec import TrainingSpec
from models.tables.arrays import as_levels, as_numbers, encode
from models.tables.profile import Profile, profile
from models.tables.table import Limits, TypedTable, read_table
from models.training.engine import TrainedPopulation
from models.training.progress import Monitor
from models.training.runs import train_many

AMES = Path(__file__).parents[1] / "examples" / "ames.csv"
LIMITS = Limits(max_rows=10_000_000, max_columns=10_000)
CORES = len(os.sched_getaffinity(0))
CPU = torch.device("cpu")
# Every fifth column of a made-up table holds words, of so many levels.
LEVELS = 5


@dataclass(frozen=True)
class Task:
    """A resolved spec and the rows that it trains on."""

    spec: TrainingSpec
    design: Design
    holdout: Design
    folds: list[FoldRows]

    def serve(self, cores: int = CORES) -> ServedModel:
        """Train the spec, or the members of its blend."""
        trained = self.train_trials(self.spec.trials(), cores)
        served, _ = blend(self.spec, trained, self.design, self.folds)
        return served

    def train_trials(
        self, trials: Sequence[TrainingSpec], cores: int = CORES, device: torch.device = CPU
    ) -> list[TrainedPopulation]:
        """Train specs that lay the same folds; encoding the inputs is part of it."""
        return train_many(
            trials,
            self.design,
            self.folds,
            device=device,
            monitor=Monitor(),
            cores=cores,
        )

    def encode(self, rows: pa.Table) -> Design:
        """Rows to predict, with this table's columns and levels; their target is not read."""
        known = self.design
        numbers = [as_numbers(rows[name]) for name in known.numeric]
        codes = [encode(as_levels(rows[own.name]), own.levels) for own in known.categorical]
        return dataclasses.replace(
            known,
            numbers=np.array(numbers, np.float64).reshape(-1, len(rows)).T,
            codes=np.array(codes, np.int64).reshape(-1, len(rows)).T,
            target=np.full(len(rows), np.nan),
            rows=np.arange(len(rows)),
        )


@dataclass(frozen=True)
class Table:
    """A table as a job finds it."""

    parquet: Path
    profile: Profile
    target: str

    def resolve(self, **spec: Any) -> TrainingSpec:
        given = TrainingSpec.model_validate({"target": self.target, **spec})
        resolved = resolve(given, self.profile)
        if not objective_of(resolved).is_complete(resolved):
            resolved = complete_spec(self.parquet, resolved)
        return resolved

    def load(self, spec: TrainingSpec) -> Task:
        """Read what a resolved spec needs."""
        design, holdout = load_design(self.parquet, spec, select(spec, self.profile))
        return Task(spec, design, holdout, split_rows(spec, design.target, design.fold_column))

    def estimated_bytes(self, trials: Sequence[TrainingSpec]) -> int:
        """What the estimate says beforehand, without the process that is there already.

        Trials count as members of each fold.
        """
        members = sum(trial.members_per_fold for trial in trials)
        together = trials[0].model_copy(update={"members_per_fold": members})
        machine = Machine(CORES, core_rate())
        return estimate(together, self.profile, machine).memory_bytes - PROCESS_BYTES


@contextmanager
def stored(rows: pa.Table, target: str) -> Iterator[Table]:
    """A table of typed columns on the disk, for as long as it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        parquet = Path(folder) / "table.parquet"
        pq.write_table(rows, parquet)
        yield Table(parquet, profile(TypedTable(rows, warnings=[])), target)


def seconds_of_training(table: Table, trials: Sequence[TrainingSpec]) -> float:
    """Read the table and train specs on it; the training alone is timed."""
    task = table.load(trials[0])
    began = time.perf_counter()
    task.train_trials(trials)
    return time.perf_counter() - began


def table_arguments(about: str | None) -> argparse.ArgumentParser:
    """A parser of the table to take: 2,930 houses unless another is named."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", nargs="?", type=Path, default=AMES, help="a CSV")
    parser.add_argument("--target", default="SalePrice", help="its column to predict")
    return parser


def rows_of(given: argparse.Namespace) -> pa.Table:
    """The rows of the table asked for that have a target."""
    typed = read_table(given.table, LIMITS).table
    return typed.filter(typed[given.target].is_valid())


def made_up(rows: int, columns: int) -> pa.Table:
    """Prices that follow from numbers and words, with noise."""
    rng = np.random.default_rng(0)
    log_price = rng.normal(12, 0.1, rows)
    table = {}
    for place in range(columns):
        if place % 5 == 4:
            codes = rng.integers(LEVELS, size=rows)
            words = pa.array([f"level {level}" for level in range(LEVELS)])
            table[f"word {place}"] = words.take(pa.array(codes))
            log_price += 0.1 * rng.normal(size=LEVELS)[codes] / columns**0.5
        else:
            numbers = rng.normal(size=rows)
            table[f"number {place}"] = pa.array(numbers)
            log_price += rng.normal() * numbers / columns**0.5
    return pa.table(table | {"price": pa.array(np.exp(log_price))})
