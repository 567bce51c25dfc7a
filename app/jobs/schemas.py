"""Jobs as the API takes and shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from statistics import fmean
from typing import Annotated, Any, Literal, NotRequired, get_type_hints

from fastapi import Body
from pydantic import BaseModel, ConfigDict, Field, create_model
from typing_extensions import TypedDict

from app.errors import ProblemDocument
from app.http.openapi import CLASSES, NUMBERS
from app.http.paging import Identified
from app.http.parameters import ID_PATTERN, PRINTABLE
from app.jobs.results import ResultOut
from app.storage.tables import FINISHED, Job, Shard, State
from models.epochs import FoldEpoch
from models.planning.review import SpecWarning
from models.spec import TrainingSpec

SPEC_EXAMPLE: dict[str, Any] = {
    "dataset_id": "latest",
    "target": "SalePrice",
    "name": "baseline",
    "architecture": {"type": "mlp", "hidden_sizes": [256, 64]},
    "dropout": 0.1,
    "weight_decay": 0.1,
    "k_folds": 5,
    "max_epochs": 60,
}


CLASSES_EXAMPLE: dict[str, Any] = {
    "dataset_id": "latest",
    "target": "CentralAir",
    "task": "classification",
    "name": "no central air",
    "architecture": {"type": "mlp", "hidden_sizes": [64]},
    "decision": {"positive": "N", "threshold": "f1"},
    "k_folds": 5,
    "max_epochs": 30,
}


Priority = Annotated[
    int,
    Field(
        ge=-100,
        le=100,
        description="Of a tenant's waiting jobs and sweeps those with the highest go first, but "
        "for one of which a worker was told already. Tenants take turns, whatever theirs.",
    ),
]


class JobCreate(TrainingSpec):
    """A training spec and its dataset. `wd`, `k` and `lr` are short names of fields."""

    model_config = ConfigDict(json_schema_extra={"examples": [SPEC_EXAMPLE]})

    dataset_id: str = Field(pattern=ID_PATTERN, description="A dataset's id, or `latest`.")
    name: str | None = Field(default=None, max_length=200, pattern=PRINTABLE)
    priority: Priority = 0
    timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=1e9,
        description="Seconds from the first start after which training stops. The model then has "
        "the best weights so far; without any the job fails.",
    )

    def spec(self) -> TrainingSpec:
        """Only the spec. Fields that were left out remain unset."""
        own = JobCreate.model_fields.keys() - TrainingSpec.model_fields.keys()
        return TrainingSpec.model_validate(self.model_dump(exclude=own, exclude_unset=True))


JobBody = Annotated[
    JobCreate,
    Body(
        openapi_examples={
            NUMBERS: {"summary": "A price", "value": SPEC_EXAMPLE},
            CLASSES: {"summary": "Whether a house has air conditioning", "value": CLASSES_EXAMPLE},
        }
    ),
]


class CancelRequest(BaseModel):
    """How to end the job."""

    model_config = ConfigDict(extra="forbid")

    keep_best: bool = Field(
        default=False,
        strict=True,
        description="Make a model of the best weights so far. If no epoch has ended yet, the job "
        "is cancelled without one.",
    )


class FeatureOut(BaseModel):
    """A column that the network sees."""

    name: str
    kind: Literal["numeric", "categorical", "datetime"]


class EstimateOut(BaseModel):
    """The estimated memory and time of the run."""

    memory_bytes: int
    seconds: float


class ValidationOut(BaseModel):
    """What a spec would train."""

    valid: Literal[True]
    resolved_spec: dict[str, Any] = Field(description="The spec with every default filled in.")
    features: list[FeatureOut]
    parameters: int = Field(description="Weights of one network.")
    estimate: EstimateOut
    warnings: list[SpecWarning]


class ProgressOut(BaseModel):
    """A job's progress. `eta_s` is the remaining time in seconds; null until an epoch was timed."""

    fraction: float
    epoch: int = Field(
        description="The last epoch that every fold has finished. On several cores some folds are "
        "far ahead, which `fraction` includes."
    )
    max_epochs: int
    folds_total: int
    folds_active: int
    eta_s: float | None


class JobOut(Identified):
    """A job."""

    # The fields that readers look for come before those that were sent.
    name: str | None
    status: State
    progress: ProgressOut
    error: ProblemDocument | None
    result: ResultOut | None
    dataset_id: str
    target: str
    priority: int
    timeout_s: float | None
    attempt: int
    max_attempts: int
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    spec: dict[str, Any] = Field(description="The spec with every default filled in.")

    @classmethod
    def of(cls, job: Job, shards: Sequence[Shard]) -> JobOut:
        return cls.model_validate(
            {
                "id": job.id,
                "name": job.name,
                "status": job.status,
                "dataset_id": job.dataset_id,
                "target": job.target,
                "priority": job.priority,
                "timeout_s": job.timeout_s,
                "spec": job.spec,
                "progress": _progress(job, shards),
                "attempt": max(shard.attempt for shard in shards),
                "max_attempts": max(shard.max_attempts for shard in shards),
                "cancel_requested": job.cancel_requested_at is not None,
                "created_at": job.created_at,
                "started_at": job.started_at,
                "finished_at": job.finished_at,
                "error": job.error,
                "result": job.result and _submittable(job.result, job.dataset_id),
            }
        )


def _submittable(result: dict[str, Any], dataset_id: str) -> dict[str, Any]:
    """The result, in which every next spec names the job's table, as a submission must."""
    diagnosis = [
        finding | {"next_spec": {"dataset_id": dataset_id, **finding["next_spec"]}}
        if finding.get("next_spec")
        else finding
        for finding in result["diagnosis"]
    ]
    return result | {"diagnosis": diagnosis}


# An answer has all columns, including those that checkpoints of an earlier version lack.
EPOCH: dict[str, Any] = {
    name: (hint, ...) for name, hint in get_type_hints(FoldEpoch, include_extras=True).items()
}
EpochOut = create_model(
    "EpochOut", __doc__="One fold after one epoch: the mean over its members.", **EPOCH
)


class OutOfFoldOut(TypedDict):
    """A row, and its prediction by the fold model that did not see it. Of classes also `p(LEVEL)`,
    the probability of each, unless there are more than 100."""

    __pydantic_config__ = ConfigDict(  # type: ignore[misc]
        json_schema_extra={"additionalProperties": {"type": "number"}}
    )

    row: Annotated[
        int, Field(description="Counts from 0 below the header, like a data frame's index.")
    ]
    fold: int
    actual: float | str
    prediction: Annotated[
        float | str | None, Field(description="Null if it is not a finite number.")
    ]
    low: NotRequired[
        Annotated[
            float | None,
            Field(
                description="Of a number: bound of a 90 % interval made from the residuals of the "
                "other folds; null if these are too few."
            ),
        ]
    ]
    high: NotRequired[float | None]
    probability: NotRequired[
        Annotated[float, Field(description="Of a class: the predicted one's probability.")]
    ]


def _progress(job: Job, shards: Sequence[Shard]) -> dict[str, Any]:
    """What the last attempts reported, if it still holds. For several shards: the mean fraction,
    the epoch of the slowest, and the folds of all."""
    parts = [_progress_of(job, shard) for shard in shards]
    left = [
        part["eta_s"]
        for part, shard in zip(parts, shards, strict=True)
        if shard.state not in FINISHED
    ]
    return {
        "fraction": fmean(part["fraction"] for part in parts),
        "epoch": min(part["epoch"] for part in parts),
        "max_epochs": max(part["max_epochs"] for part in parts),
        "folds_total": sum(part["folds_total"] for part in parts),
        "folds_active": sum(part["folds_active"] for part in parts),
        "eta_s": None if None in left else max(left, default=None),
    }


def _progress_of(job: Job, shard: Shard) -> dict[str, Any]:
    progress = shard.progress or {
        "fraction": 0.0,
        "epoch": 0,
        "max_epochs": job.spec["max_epochs"],
        "folds_total": job.spec["k_folds"],
        "folds_active": 0,
        "eta_s": None,
    }
    if shard.state is not State.RUNNING:
        progress = progress | {"folds_active": 0, "eta_s": None}
    if shard.state is State.SUCCEEDED:
        progress = progress | {"fraction": 1.0}
    return progress
