"""Any interleaving of the transitions of jobs, on both databases, beside a plain model of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from jobs_in_database import BOOT, add_dataset, make_due, submit
from sqlalchemy import delete, event, select, update

from app.errors import Conflict
from app.ids import new_id
from app.jobs import attempts, lifecycle
from app.jobs.attempts import EpochRecord, Fence
from app.storage.database import Database, database_now
from app.storage.tables import (
    FINISHED,
    MAX_ATTEMPTS,
    MOST_ATTEMPTS,
    Alias,
    Base,
    Dataset,
    EpochMetric,
    Event,
    Fold,
    Job,
    Model,
    Shard,
    State,
)

# Parents last, as they have to be deleted.
TABLES: list[type[Base]] = [Event, EpochMetric, Fold, Alias, Model, Shard, Job, Dataset]
OF_JOB = [
    Event.job_id,
    EpochMetric.job_id,
    Fold.job_id,
    Model.job_id,
    Shard.job_id,
    Job.id,
]
WORKERS = 3
LONG = 10_000.0  # s; no example lasts as long
STEPS = 40
EXAMPLES = {"sqlite": 18, "postgresql": 8}


def result() -> dict[str, Any]:
    fold = {"fold": 0, "rows_train": 8, "rows_validation": 2, "epochs": 3, "metrics": {"rmse": 1.0}}
    return {"metrics": {"rmse": 1.0}, "folds": [{**fold, "stopped_by": "max_epochs"}]}


@dataclass
class Known:
    """What the machine knows of a job, without having asked the database."""

    shard: Shard
    state: State = State.QUEUED
    attempt: int = 0
    max_attempts: int = MAX_ATTEMPTS
    due: bool = True
    fence: Fence | None = None  # that holds
    fences: list[Fence] = field(default_factory=list)  # all that there were
    lease_over: bool = False
    learnt: bool = False
    cancel: str | None = None  # or "keep_best", or for good "cancel"
    model_id: str | None = None
    history: list[tuple[str, int]] = field(default_factory=lambda: [("queued", 0)])
    rows: Any = None  # of a finished job, which stay as they are

    def move(self, to: State, *, attempt_counts: bool = True) -> None:
        """The attempt ends, or the job before one began."""
        self.state = to
        self.history.append((to.value, self.attempt))
        self.fence = None
        self.lease_over = False
        if not attempt_counts:
            self.attempt -= 1


class Lifecycle(RuleBasedStateMachine):
    """Workers, clients and reconcilers, each of whom may do anything at any time.

    Every fence is kept, so that most calls come from attempts that lost their shard long ago.
    """

    database: ClassVar[Database]
    jobs = Bundle("jobs")
    fences = Bundle("fences")

    @initialize()
    def begin(self) -> None:
        self.known: dict[str, Known] = {}  # by shard
        self.workers = [new_id("wrk") for _ in range(WORKERS)]
        self.dataset_id = add_dataset(self.database)

    # What clients do.

    @precondition(lambda self: len(self.known) < 3)
    @rule(target=jobs)
    def enqueue(self) -> Known:
        job = Known(submit(self.database, self.dataset_id))
        self.known[job.shard.id] = job
        return job

    @rule(job=jobs, keep_best=st.booleans())
    def request_cancel(self, job: Known, keep_best: bool) -> None:
        before = self.rows(job)
        try:
            with self.database.writing() as session:
                row = session.get_one(Job, job.shard.job_id)
                lifecycle.request_cancel(session, row, keep_best=keep_best)
        except Conflict:
            assert job.state in FINISHED or (keep_best and job.cancel == "cancel")
            assert self.rows(job) == before
            return
        assert job.state not in FINISHED
        if job.state is State.QUEUED and not (keep_best and job.learnt):
            job.move(State.CANCELLED)
        elif job.cancel != "cancel":
            job.cancel = "keep_best" if keep_best else "cancel"

    # What workers do.

    @rule(target=fences, job=jobs, worker=st.integers(0, WORKERS - 1))
    def claim(self, job: Known, worker: int) -> Any:
        before = self.rows(job)
        with self.database.writing() as session:
            claimed = lifecycle.claim(
                session, job.shard.id, owner=self.workers[worker], boot_id=BOOT
            )
        if job.state is not State.QUEUED or not job.due:
            assert claimed is None
            assert self.rows(job) == before
            return multiple()
        assert claimed is not None
        assert claimed.fence == Fence(job.shard.id, job.attempt + 1, self.workers[worker])
        assert claimed.fence not in job.fences
        job.attempt += 1
        job.state = State.RUNNING
        job.history.append(("running", job.attempt))
        job.fence = claimed.fence
        job.fences.append(claimed.fence)
        return claimed.fence

    @rule(fence=fences)
    def renew(self, fence: Fence) -> None:
        if self.holds(fence, attempts.renew):
            self.job(fence).lease_over = False

    @rule(fence=fences, epoch=st.integers(1, 3))
    def record_progress(self, fence: Fence, epoch: int) -> None:
        record = EpochRecord(0, epoch, 0.5, 0.5, learning_rate=0.1)
        progress = {"epoch": epoch}
        if self.holds(fence, attempts.record_progress, progress, [record]):
            self.job(fence).learnt = True

    @rule(fence=fences)
    def succeed(self, fence: Fence) -> None:
        job = self.job(fence)
        if fence == job.fence and job.cancel == "cancel":
            with self.database.writing() as session:
                assert lifecycle.succeed(session, fence, result(), {}) is None
            job.move(State.CANCELLED)
        elif model_id := self.holds(fence, lifecycle.succeed, result(), {"core.onnx": "00"}):
            job.model_id = model_id
            job.move(State.SUCCEEDED)

    @rule(fence=fences)
    def fail(self, fence: Fence) -> None:
        if self.holds(fence, lifecycle.fail, "The loss was not finite."):
            self.job(fence).move(State.FAILED)

    @rule(fence=fences)
    def cancel(self, fence: Fence) -> None:
        if self.holds(fence, lifecycle.cancel):
            self.job(fence).move(State.CANCELLED)

    @rule(fence=fences)
    def release(self, fence: Fence) -> None:
        if not self.holds(fence, lifecycle.release):
            return
        job = self.job(fence)
        if job.cancel == "cancel":
            job.move(State.CANCELLED)
        else:
            job.move(State.QUEUED, attempt_counts=False)
            job.due = True
        # It stops: who claims after it has another id.
        self.workers = [new_id("wrk") if id == fence.owner else id for id in self.workers]

    @rule(fence=fences, blame=st.sampled_from(["job", "worker", "machine"]))
    def lose(self, fence: Fence, blame: str) -> None:
        state = self.holds(fence, lifecycle.lose, "killed", blame=blame)
        if state is not None:
            self.lost(self.job(fence), state, blame)

    # What time does, and the reconcilers.

    @rule(fence=fences)
    def lease_ends(self, fence: Fence) -> None:
        with self.database.writing() as session:
            session.execute(update(Shard).where(fence.holds()).values(lease_until=database_now(-1)))
        job = self.job(fence)
        job.lease_over = job.lease_over or fence == job.fence

    @rule()
    def reconcile(self) -> None:
        over = {job.fence for job in self.known.values() if job.lease_over}
        with self.database.reading() as session:
            expired = attempts.expired(session)
        assert set(expired) == over
        for fence in expired:
            self.lose(fence, blame="worker")

    @rule(job=jobs)
    def backoff_ends(self, job: Known) -> None:
        if job.state is State.QUEUED:
            make_due(self.database, job.shard)
            job.due = True

    # The steps' common parts.

    def job(self, fence: Fence) -> Known:
        return self.known[fence.shard_id]

    def holds(self, fence: Fence, write: Any, *details: Any, **options: Any) -> Any:
        """Write as an attempt does; nothing may change unless its fence holds."""
        job = self.job(fence)
        before = self.rows(job)
        with self.database.writing() as session:
            written = write(session, fence, *details, **options)
        if fence == job.fence:
            assert written
            return written
        assert not written
        assert self.rows(job) == before
        return None

    def lost(self, job: Known, state: State, blame: str) -> None:
        if blame != "job":
            job.max_attempts = min(job.max_attempts + 1, MOST_ATTEMPTS)
        if job.cancel == "cancel":
            job.move(State.CANCELLED)
        elif job.attempt < job.max_attempts:
            job.move(State.QUEUED)
            job.due = False
        else:
            job.move(State.FAILED)
        assert state is job.state

    def rows(self, job: Known) -> list[Any]:
        """All that the database has of the job."""
        with self.database.reading() as session:
            return [
                row
                for of_job in OF_JOB
                for row in session.execute(
                    select(*of_job.class_.__table__.columns)
                    .where(of_job == job.shard.job_id)
                    .order_by(*of_job.class_.__table__.primary_key)
                )
            ]

    # What always holds.

    @invariant()
    def the_rows_are_as_the_steps_say(self) -> None:
        with self.database.reading() as session:
            shards = {shard.id: shard for shard in session.scalars(select(Shard))}
            jobs = {job.id: job for job in session.scalars(select(Job))}
            events = session.scalars(select(Event).order_by(Event.id)).all()
            models = session.scalars(select(Model)).all()
        assert set(shards) == set(self.known)
        for known in self.known.values():
            shard, job = shards[known.shard.id], jobs[known.shard.job_id]
            assert job.status is shard.state is known.state
            assert (shard.attempt, shard.max_attempts) == (known.attempt, known.max_attempts)
            assert 0 <= shard.attempt <= shard.max_attempts <= MOST_ATTEMPTS
            running = known.state is State.RUNNING
            fence = Fence(shard.id, shard.attempt, shard.owner) if shard.owner else None
            assert fence == known.fence
            assert (shard.owner is not None) is running
            assert (shard.boot_id is not None) is running
            assert (shard.lease_until is not None) is running
            assert (job.started_at is not None) is bool(known.fences)
            assert (job.finished_at is not None) is (known.state in FINISHED)
            assert (job.error is not None) is (known.state is State.FAILED)
            assert (job.result is not None) is (known.state is State.SUCCEEDED)
            asked = "keep_best" if job.keep_best else "cancel"
            assert (asked if job.cancel_requested_at else None) == known.cancel
            assert not (known.cancel == "cancel" and known.state is State.QUEUED)
            registered = [model.id for model in models if model.job_id == job.id]
            assert registered == ([known.model_id] if known.state is State.SUCCEEDED else [])
            told = [event.data for event in events if event.job_id == job.id]
            assert [(data["status"], data["attempt"]) for data in told] == known.history

    @invariant()
    def one_fence_holds_at_most(self) -> None:
        with self.database.reading() as session:
            standing = {
                fence: attempts.standing(session, fence)
                for job in self.known.values()
                for fence in job.fences
            }
            running = attempts.running_on(session, BOOT)
        alive = {job.fence: job.cancel or "wanted" for job in self.known.values() if job.fence}
        assert {fence: word for fence, word in standing.items() if word != "lost"} == alive
        assert sorted(running) == sorted(alive)

    @invariant()
    def finished_is_final(self) -> None:
        for job in self.known.values():
            if job.state in FINISHED:
                rows = self.rows(job)
                job.rows = job.rows or rows
                assert rows == job.rows

    @invariant()
    def what_waits_and_is_due_can_be_claimed(self) -> None:
        with self.database.reading() as session:
            due = attempts.due(session, limit=len(self.known) + 1)
        waiting = {id for id, job in self.known.items() if job.state is State.QUEUED and job.due}
        assert sorted(due) == sorted(waiting)

    def teardown(self) -> None:
        """Whatever went before, every job can still be claimed to its end, though all die."""
        try:
            for job in getattr(self, "known", {}).values():
                while job.state not in FINISHED:
                    self.backoff_ends(job)
                    if job.fence is None:
                        self.claim(job, 0)
                    assert job.fence is not None
                    self.lose(job.fence, blame="worker")
                self.the_rows_are_as_the_steps_say()
        finally:
            with self.database.writing() as session:
                for table in TABLES:
                    session.execute(delete(table))


def test_any_interleaving(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database goes along with the model, and no attempt that is over changes a row."""
    # Else a slow machine would end leases and backoffs that no step has ended.
    monkeypatch.setattr(lifecycle, "BACKOFF", LONG)
    monkeypatch.setattr(lifecycle, "LEASE", LONG)
    monkeypatch.setattr(attempts, "LEASE", LONG)
    if database.engine.dialect.name == "sqlite":
        # Nothing here cuts the power, and waiting for the disk takes most of the time.
        event.listen(
            database.engine,
            "connect",
            lambda connection, _record: connection.execute("PRAGMA synchronous=OFF"),
        )
    machine = type("LifecycleHere", (Lifecycle,), {"database": database})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES[database.engine.dialect.name],
            stateful_step_count=STEPS,
            deadline=None,
            # So that a run of CI fails only for what was changed.
            derandomize=True,
            # Shrinking takes minutes, more than a test may; the steps are printed as they are.
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
