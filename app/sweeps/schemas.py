"""Sweeps as the API takes and shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import Body
from pydantic import BaseModel, ConfigDict, Field

from app.errors import ProblemDocument
from app.http.openapi import CLASSES, NUMBERS
from app.http.paging import Identified
from app.http.parameters import ID_PATTERN, PRINTABLE
from app.jobs.schemas import Priority
from app.storage.tables import State, Trial
from models.spec.sweep import SweepSpec
from models.sweeps.outcome import AsGood, Expected

SWEEP_EXAMPLE: dict[str, Any] = {
    "dataset_id": "latest",
    "target": "SalePrice",
    "name": "decay and dropout",
    "spec": {"k_folds": 5, "max_epochs": 30, "architecture": {"type": "mlp", "hidden_sizes": [64]}},
    "search_space": {
        "weight_decay": {"low": 1e-3, "high": 1.0, "log": True},
        "dropout": {"low": 0.0, "high": 0.6},
    },
    "sampler": "random",
    "n_trials": 8,
}
CLASSES_EXAMPLE = SWEEP_EXAMPLE | {"target": "CentralAir", "name": "no central air"}


class SweepCreate(SweepSpec):
    """Many specs on one table with the same folds."""

    model_config = ConfigDict(json_schema_extra={"examples": [SWEEP_EXAMPLE]})

    dataset_id: str = Field(pattern=ID_PATTERN, description="A dataset's id, or `latest`.")
    target: str = Field(min_length=1, max_length=255, description="The column to predict.")
    name: str | None = Field(default=None, max_length=200, pattern=PRINTABLE)
    priority: Priority = 0

    def settings(self) -> SweepSpec:
        own = SweepCreate.model_fields.keys() - SweepSpec.model_fields.keys()
        return SweepSpec.model_validate(self.model_dump(exclude=own, exclude_unset=True))


SweepBody = Annotated[
    SweepCreate,
    Body(
        openapi_examples={
            NUMBERS: {"summary": "Decay and dropout", "value": SWEEP_EXAMPLE},
            CLASSES: {"summary": "The same for classes", "value": CLASSES_EXAMPLE},
        }
    ),
]


class SweepProgressOut(BaseModel):
    """How far a sweep is. `eta_s`: seconds left; null until there is something to go by."""

    trials: int = Field(description="In all.")
    succeeded: int
    failed: int
    cancelled: int = Field(description="Not tried, or stopped before all folds had trained.")
    running: int
    fraction: float
    eta_s: float | None


class BestOut(BaseModel):
    """The trial with the best value so far."""

    trial: int
    params: dict[str, Any]
    value: float
    standard_error: float | None


class SweepOut(Identified):
    """A sweep."""

    name: str | None
    dataset_id: str
    target: str
    status: State
    spec: dict[str, Any] = Field(description="What all trials share, as it was sent.")
    search_space: dict[str, Any]
    sampler: str
    n_trials: int
    halving: dict[str, Any] | None
    metric: str
    priority: int
    timeout_s: float | None
    device_seconds: float | None
    keep: str
    seed: int
    progress: SweepProgressOut
    best: BestOut | None
    expected: Expected | None = Field(description="Once the sweep has a model.")
    as_good: AsGood | None
    members: list[int] = Field(description="The trials that the model is made of.")
    model_id: str | None
    bytes: int | None = Field(description="Of the model's weights; a trial has its own.")
    row_seconds: float | None = Field(
        description="To predict a row with the whole model in the trainer; the served file is "
        "quicker."
    )
    metrics: dict[str, float | None] | None = Field(
        description="Of the model, out of fold. A blend's weights were learnt without the rows "
        "that they are scored on."
    )
    metrics_error: dict[str, float | None] | None
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: ProblemDocument | None


class TrialOut(BaseModel):
    """A trial on the leaderboard."""

    trial: int
    state: State
    params: dict[str, Any]
    value: float | None
    standard_error: float | None
    folds: list[float | None] = Field(description="The metric of each fold.")
    epochs: int | None = Field(description="Most that a fold has trained.")
    stopped_by: str | None = Field(description="Of most folds; `halving` for one that left early.")
    bytes: int | None = Field(description="Of its weights.")
    row_seconds: float | None = Field(
        description="To predict a row with all of its networks in the trainer; the served file is "
        "quicker."
    )
    error: str | None
    batch: int

    @classmethod
    def of(cls, trial: Trial, metric: str, running: Sequence[int] | set[int]) -> TrialOut:
        result = trial.result or {}
        folds = result.get("folds", [])
        is_running = trial.state is State.QUEUED and trial.shard in running
        return cls(
            trial=trial.number,
            state=State.RUNNING if is_running else trial.state,
            params=trial.point,
            value=trial.value,
            standard_error=result.get("metrics_error", {}).get(metric),
            folds=[fold["metrics"].get(metric) for fold in folds],
            epochs=max((fold["epochs"] for fold in folds), default=None),
            stopped_by=_most([fold["stopped_by"] for fold in folds]),
            bytes=result.get("bytes"),
            row_seconds=result.get("row_seconds"),
            error=trial.error,
            batch=trial.shard,
        )


class TrialDetailOut(TrialOut):
    """A trial with its spec, which can be submitted as a job, and all its metrics."""

    spec: dict[str, Any] | None
    metrics: dict[str, float | None] | None
    metrics_error: dict[str, float | None] | None


class ImportanceOut(BaseModel):
    """How much a searched field matters for being among the better trials."""

    name: str
    importance: float


class ImportancesOut(BaseModel):
    data: list[ImportanceOut]


def _most(words: list[str]) -> str | None:
    return max(words, key=words.count) if words else None
