"""Small made-up tables of houses, and what the numeric code makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from models.data.design import Design, Vocabulary, complete_spec, load_design
from models.data.features import select
from models.data.folds import FoldRows, split_rows
from models.data.preprocessing import trainable_rows
from models.evaluation.blend import blend
from models.evaluation.likeness import likeness_of
from models.evaluation.scores import Scores, evaluate
from models.export.graph import core_graph, full_graph
from models.export.served import ServedModel
from models.members import members_of
from models.objectives import objective_of
from models.objectives.trained import learning_of
from models.planning.resolve import resolve
from models.serving.manifest import Manifest, describe
from models.serving.predictor import Predictor
from models.spec import TrainingSpec
from models.tables.profile import Profile
from models.tables.stored import ingest
from models.tables.table import Blocks, Limits
from models.training.engine import TrainedPopulation, Trainer
from models.training.inputs import Inputs
from models.training.progress import Monitor
from models.training.runs import train_many

LIMITS = Limits(max_rows=100_000, max_columns=1_000)


@dataclass(frozen=True)
class Case:
    """A table, a resolved spec, and the folds that it lays."""

    cells: pa.Table  # as written in the CSV
    parquet: Path
    profile: Profile
    spec: TrainingSpec
    design: Design  # the rows that folds may see
    holdout: Design

    @cached_property
    def laid(self) -> list[FoldRows]:
        return split_rows(self.spec, self.design.target, self.design.fold_column)

    @property
    def folds(self) -> list[FoldRows]:
        """What the folds train on: without the rows that `drop_rows` leaves out."""
        return [trainable_rows(self.spec.preprocessing, self.design, fold) for fold in self.laid]


@dataclass(frozen=True)
class Built:
    """A case trained, scored and exported."""

    case: Case
    populations: list[TrainedPopulation]  # one, or those of a blend's members
    served: ServedModel
    scores: Scores
    core: bytes
    full: bytes
    manifest: Manifest

    @property
    def trained(self) -> TrainedPopulation:
        (population,) = self.populations
        return population

    @property
    def predictor(self) -> Predictor:
        return Predictor(self.core, self.manifest)


def house_frame(rows: int = 103, seed: int = 0) -> pd.DataFrame:
    """Prices that follow from area, age and quarter, with gaps in numbers and in words."""
    rng = np.random.default_rng(seed)
    area = rng.uniform(40, 300, rows).round(1)
    year = rng.integers(1900, 2020, rows)
    quarter = rng.choice(["north", "south", "mill", "old town"], rows)
    worth = pd.Series(quarter).map({"north": 0.0, "south": 0.3, "mill": -0.2, "old town": 0.5})
    noise = rng.normal(0, 0.1, rows)
    price = np.exp(10 + 0.005 * area + 0.004 * (year - 1960) + worth + noise).round()
    frame = pd.DataFrame(
        {
            "area": area,
            "year": year,
            "quarter": quarter,
            "heating": rng.choice(["gas", "oil"], rows),
            "stars": rng.integers(1, 6, rows) / 2,
            "sold": pd.date_range("2020-01-01", periods=rows, freq="D").strftime("%Y-%m-%d"),
            "price": price,
        }
    )
    frame.loc[::10, "area"] = np.nan
    frame.loc[::7, "heating"] = None
    frame.loc[::9, "stars"] = np.nan
    return frame


def lay(folder: Path, frame: pd.DataFrame, **spec: Any) -> Case:
    """Read a frame as an upload would be and resolve a spec on it (the target is `price`)."""
    csv, parquet = folder / "houses.csv", folder / "houses.parquet"
    frame.to_csv(csv, index=False)
    described = ingest(csv, parquet, LIMITS)
    given = {"target": "price", "effort": "quick", **spec}  # one network instead of a blend
    resolved = resolve(TrainingSpec.model_validate(given), described)
    if not objective_of(resolved).is_complete(resolved):
        resolved = complete_spec(parquet, resolved)
    design, holdout = load_design(parquet, resolved, select(resolved, described))
    with csv.open("rb") as file:
        cells = pa.Table.from_batches(Blocks(file, LIMITS))
    return Case(cells, parquet, described, resolved, design, holdout)


def trainer_of(
    case: Case,
    dtype: torch.dtype = torch.float32,
    trials: Sequence[TrainingSpec] | None = None,
) -> Trainer:
    """A trainer on the CPU of the case's own spec, or of several trials of it."""
    members = members_of([case.spec] if trials is None else trials)
    inputs = Inputs(members[0].spec, case.design, case.folds, torch.device("cpu"), dtype)
    return Trainer(members, inputs)


def train(case: Case, monitor: Monitor | None = None) -> TrainedPopulation:
    """Train a case on the CPU."""
    return trainer_of(case).train(monitor or Monitor())


def score(case: Case, trained: TrainedPopulation) -> Scores:
    return _evaluated(case, ServedModel.of(trained), [trained])


def _evaluated(case: Case, served: ServedModel, trained: list[TrainedPopulation]) -> Scores:
    return evaluate(served, case.spec, case.design, case.folds, case.holdout, trained)


def build(case: Case) -> Built:
    """Train, score and export a case, without checking the export."""
    trained = train_many(
        case.spec.trials(), case.design, case.folds, device=torch.device("cpu"), monitor=Monitor()
    )
    served, _ = blend(case.spec, trained, case.design, case.folds)
    scores = _evaluated(case, served, trained)
    learning = learning_of(case.spec)
    core = core_graph(served, case.design, objective_of(case.spec).output)
    full = full_graph(core, case.design)
    learning.finish(full, scores.assessment.kept)
    manifest = describe(
        case.design,
        case.spec,
        kept=scores.assessment.manifest() | learning.kept(served.target),
        importance=scores.importance,
        likeness=likeness_of(case.spec, case.design),
        members=served.members,
        rows=int((scores.fold_of >= 0).sum()),
        receipt={},
        warnings=[],
    )
    return Built(
        case, trained, served, scores, core.SerializeToString(), full.SerializeToString(), manifest
    )


def array_design(
    numbers: np.ndarray | None = None,
    codes: np.ndarray | None = None,
    vocabularies: Sequence[Vocabulary] = (),
    target: np.ndarray | None = None,
) -> Design:
    """A design straight from arrays; what is left out is empty, and the target counts up."""
    given = next(array for array in (numbers, codes, target) if array is not None)
    rows = len(given)
    numbers = np.empty((rows, 0)) if numbers is None else numbers
    return Design(
        numeric=[f"number {place}" for place in range(numbers.shape[1])],
        numeric_kinds=["numeric"] * numbers.shape[1],
        categorical=list(vocabularies),
        numbers=numbers,
        codes=np.empty((rows, 0), np.int64) if codes is None else codes,
        target=np.arange(1.0, rows + 1) if target is None else target,
        rows=np.arange(rows),
        fold_column=None,
    )
