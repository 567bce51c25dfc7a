"""What supervisor and child say to each other, as JSON lines.

    supervisor ──path of the Order, then Stop──▶ child  over a socket
    supervisor ◀──Progressed…, last report── child      over a pipe: libraries print to stdout

The order is a file: with the profile of a wide table it is larger than what a socket holds.

Together with the order the child is given the attempt's lock file. End of input tells the child
that the supervisor is gone; end of the pipe tells the supervisor that the child is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

from models.epochs import FoldEpoch

StopReason = Literal["cancel", "release", "keep_best"]


class Order(BaseModel):
    """What to train, and with what."""

    job_id: str
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

    @property
    def path(self) -> Path:
        return self.workdir / "order.json"


class Stop(BaseModel):
    """`cancel`: give up. `release`: save a checkpoint first, another attempt goes on from it.
    `keep_best`: make a model of the best weights so far, and give up where there are none."""

    reason: StopReason


class Progressed(BaseModel):
    kind: Literal["progressed"] = "progressed"
    progress: dict[str, Any]
    epochs: list[FoldEpoch]


class Succeeded(BaseModel):
    kind: Literal["succeeded"] = "succeeded"
    result: dict[str, Any]
    artifacts: dict[str, Path]


class Failed(BaseModel):
    """The run cannot give a model, whoever tries it."""

    kind: Literal["failed"] = "failed"
    detail: str


class Hindered(BaseModel):
    """The machine did not let the run go on, such as its disk; it was not the job's doing."""

    kind: Literal["hindered"] = "hindered"
    detail: str


class Stopped(BaseModel):
    """The child did what it was asked to."""

    kind: Literal["stopped"] = "stopped"
    reason: StopReason


LastReport = Succeeded | Failed | Hindered | Stopped
Report = Progressed | LastReport
REPORT: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="kind")])


def describe_os_error(error: OSError) -> str:
    """What a file that cannot be written or read says to the user."""
    return (
        f"The worker could not keep the attempt's files: {error.strerror or error}. Look whether "
        "its disk or its storage is full."
    )
