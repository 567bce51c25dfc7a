"""The messages between supervisor and child, as JSON lines.

    supervisor ──path of the Order, then requests──▶ child  over a socket
    supervisor ◀──Progressed…, last report────────── child  over a pipe: libraries print to stdout

The order is a file, because with the profile of a wide table it is too large for a socket's buffer.

With the order, the child gets the attempt's lock file. The end of its input shows the child that
the supervisor is gone; the end of the pipe shows the supervisor that the child is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

from app.jobs.lifecycle import TrialFile
from app.jobs.starts import Start
from app.storage.tables import ShardKind
from models.epochs import FoldEpoch

StopReason = Literal["cancel", "release", "keep_best"]


class Order(BaseModel):
    """What to train, and with what."""

    kind: ShardKind = ShardKind.JOB
    job_id: str
    request_id: str | None = None
    job_name: str | None
    dataset_name: str
    shard_id: str
    spec: dict[str, Any]
    profile: dict[str, Any]
    parquet: str  # key in storage
    dataset_sha256: str
    parquet_sha256: str | None
    storage_url: str
    workdir: Path
    device: Literal["auto", "cpu", "cuda"]
    gpu: int | None  # place among the visible CUDA devices
    start: Start | None = None  # the model that the spec names, unless it has been deleted
    # Of a sweep: its settings; the numbers and specs of a batch's trials; those that have ended.
    sweep: dict[str, Any] | None = None
    trials: list[tuple[int, dict[str, Any]]] = []
    files: list[TrialFile] = []

    @property
    def path(self) -> Path:
        return self.workdir / "order.json"


class Stop(BaseModel):
    """`cancel`: stop. `release`: save a checkpoint first, from which another attempt continues.
    `keep_best`: make a model of the best weights so far, or just stop if there are none."""

    kind: Literal["stop"] = "stop"
    reason: StopReason


class Stored(BaseModel):
    """So many of the epochs that the child has reported are in the database."""

    kind: Literal["stored"] = "stored"
    epochs: int


Request = Stop | Stored
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])


class Progressed(BaseModel):
    kind: Literal["progressed"] = "progressed"
    progress: dict[str, Any]
    epochs: list[FoldEpoch]


class Succeeded(BaseModel):
    kind: Literal["succeeded"] = "succeeded"
    result: dict[str, Any]
    artifacts: dict[str, Path]


class Failed(BaseModel):
    """The run cannot produce a model, in this attempt or another."""

    kind: Literal["failed"] = "failed"
    detail: str


class Hindered(BaseModel):
    """The machine prevented the run, for example its disk; it was not the job's fault."""

    kind: Literal["hindered"] = "hindered"
    detail: str


class Stopped(BaseModel):
    """The child stopped as requested."""

    kind: Literal["stopped"] = "stopped"
    reason: StopReason


LastReport = Succeeded | Failed | Hindered | Stopped
Report = Progressed | LastReport
REPORT: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="kind")])


def describe_os_error(error: OSError) -> str:
    """Explain to the user that a file cannot be written or read."""
    return (
        f"The worker could not store the attempt's files: {error.strerror or error}. Check whether "
        "its disk or its storage is full."
    )
