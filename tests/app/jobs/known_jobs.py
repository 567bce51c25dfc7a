"""Jobs and shards as they should be, by what was done to them, without a look at the database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.jobs.attempts import Fence
from app.storage.tables import (
    FINISHED,
    MAX_ATTEMPTS,
    MAX_ATTEMPTS_AFTER_WORKER_DEATHS,
    Event,
    Shard,
    State,
)


def result() -> dict[str, Any]:
    """What a run of one fold reports."""
    fold = {"fold": 0, "rows_train": 8, "rows_validation": 2, "epochs": 3, "metrics": {"rmse": 1.0}}
    return {"metrics": {"rmse": 1.0}, "folds": [{**fold, "stopped_by": "max_epochs"}]}


@dataclass
class KnownShard:
    """What is known of a shard."""

    row: Shard
    job: KnownJob
    state: State = State.QUEUED
    attempt: int = 0
    max_attempts: int = MAX_ATTEMPTS
    due: bool = True
    fence: Fence | None = None  # that holds
    fences: list[Fence] = field(default_factory=list)  # all that there were
    lease_over: bool = False
    learnt: bool = False
    model_id: str | None = None
    sha256: str = ""  # of its model's file

    def begin(self, fence: Fence) -> None:
        self.attempt += 1
        self.state = State.RUNNING
        self.note()
        self.fence = fence
        self.fences.append(fence)

    def learn(self, epoch: int) -> None:
        self.learnt = True
        self.tell("epoch", (epoch, epoch))

    def succeed(self, model_id: str, sha256: str) -> None:
        self.model_id, self.sha256 = model_id, sha256
        self.tell("fold", 0, 3)
        self.tell("result", model_id, 1.0)
        self.move(State.SUCCEEDED)

    def lose(self, blame: str) -> None:
        if blame != "job":
            self.max_attempts = min(self.max_attempts + 1, MAX_ATTEMPTS_AFTER_WORKER_DEATHS)
        if self.job.cancel == "cancel":
            self.move(State.CANCELLED)
        elif self.attempt < self.max_attempts:
            self.move(State.QUEUED)
            self.due = False
        else:
            self.move(State.FAILED)

    def move(self, to: State, *, attempt_counts: bool = True) -> None:
        """The attempt ends, or the shard before one began."""
        assert self.state not in FINISHED
        self.state = to
        self.note()
        self.fence = None
        self.lease_over = False
        if not attempt_counts:
            self.attempt -= 1

    def note(self) -> None:
        self.tell("state", self.state.value, self.job.status.value, self.attempt)

    def tell(self, kind: str, *details: Any) -> None:
        self.job.history.append((kind, self.row.place, *details))


def told(event: Event) -> tuple[Any, ...]:
    """An event of a job as its history notes it here."""
    data = event.data
    details: tuple[Any, ...] = {
        "state": lambda: (data["state"], data["status"], data["attempt"]),
        "epoch": lambda: tuple((each["first"], each["last"]) for each in data["folds"]),
        "fold": lambda: (data["fold"], data["epochs"]),
        "result": lambda: (data["model_id"], data["metrics"]["rmse"]),
    }[event.kind]()
    return (event.kind, data["shard"], *details)


@dataclass
class KnownJob:
    """What follows from its shards."""

    id: str
    shards: list[KnownShard] = field(default_factory=list)
    cancel: str | None = None  # or "keep_best", or for good "cancel"
    history: list[tuple[Any, ...]] = field(
        default_factory=lambda: [("state", None, "queued", "queued", 0)]
    )
    rows: Any = None  # of a finished job, which stay as they are

    @property
    def status(self) -> State:
        states = [shard.state for shard in self.shards]
        if State.RUNNING in states:
            return State.RUNNING
        if State.QUEUED in states:
            return State.QUEUED
        if set(states) == {State.FAILED}:
            return State.FAILED
        if self.cancel == "cancel":
            return State.CANCELLED
        for state in (State.SUCCEEDED, State.FAILED):
            if state in states:
                return state
        return State.CANCELLED

    def request_cancel(self, *, keep_best: bool) -> None:
        at_once = [
            shard
            for shard in self.shards
            if shard.state is State.QUEUED and not (keep_best and shard.learnt)
        ]
        if self.cancel != "cancel":
            self.cancel = "keep_best" if keep_best else "cancel"
        for shard in at_once:
            shard.move(State.CANCELLED)
