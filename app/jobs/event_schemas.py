"""The data of the events in a job's or a sweep's stream."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from app.jobs.schemas import EPOCH, ProgressOut
from app.storage.tables import State
from models.epochs import FLAT_COLUMNS

_FLAT: dict[str, Any] = {name: EPOCH[name] for name in FLAT_COLUMNS}
FlatEpochOut = create_model("FlatEpochOut", __doc__="One fold after one epoch.", **_FLAT)


class JobEvent(BaseModel):
    """What all events say. `shard` is the place of the part of the job that it is about."""

    at: datetime
    shard: int | None = Field(description="0 for a plain job; null for the job as a whole.")


class StateEvent(JobEvent):
    """`state`: the job or its run moves on. After a finished `status` nothing follows."""

    state: State = Field(description="Of the run.")
    status: State = Field(description="Of the job.")
    attempt: int
    detail: str | None = Field(description="Why, if something went wrong.")


class EpochEvent(JobEvent):
    """`epoch`: folds have finished epochs. A run that resumes reports some of them again."""

    progress: ProgressOut | None = Field(
        description="After these epochs; null where an earlier version stored them."
    )
    epochs: list[FlatEpochOut] = Field(description="As in the job's metrics, but without `layers`.")


class FoldEvent(JobEvent):
    """`fold`: a fold was scored. The rest is as in the `folds` of the job's result."""

    model_config = ConfigDict(extra="allow")

    fold: int
    epochs: int
    metrics: dict[str, float | None]


class ResultEvent(JobEvent):
    """`result`: the run has a model."""

    model_id: str
    metrics: dict[str, Any]


class TrialEvent(JobEvent):
    """`trial`: a trial of a sweep was trained. `shard` is the place of its batch."""

    trial: int
    state: State
    metric: str = Field(description="The sweep's.")
    value: float | None = Field(description="Null unless the trial succeeded.")
    detail: str | None = Field(description="Why the trial failed.")


EVENTS = (StateEvent, EpochEvent, FoldEvent, ResultEvent, TrialEvent)
