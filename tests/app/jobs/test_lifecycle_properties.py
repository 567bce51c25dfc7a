"""Any interleaving of the transitions of jobs of several shards, on both databases, beside a plain
model of them."""

from __future__ import annotations

from pathlib import Path
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
from jobs_in_database import BOOT, add_dataset, make_due, submit_shards
from known_jobs import KnownJob, KnownShard, result, told
from sqlalchemy import delete, event, select, update

from app.errors import Conflict
from app.ids import new_id
from app.jobs import attempts, lifecycle
from app.jobs.attempts import Fence
from app.storage.blobs import Blobs, artifact_key
from app.storage.database import Database, database_now
from app.storage.sweep import sweep
from app.storage.tables import (
    FINISHED,
    MAX_ATTEMPTS_AFTER_WORKER_DEATHS,
    Alias,
    Base,
    Dataset,
    EpochMetric,
    Event,
    Job,
    Model,
    Shard,
    State,
)
from models.epochs import FoldEpoch

# Parents last, as they have to be deleted.
TABLES: list[type[Base]] = [Event, EpochMetric, Alias, Model, Shard, Job, Dataset]
OF_JOB = [Event.job_id, EpochMetric.job_id, Model.job_id, Shard.job_id, Job.id]
WORKERS, SHARDS = 3, 3
LONG = 10_000.0  # s; no example lasts as long
STEPS = 40
EXAMPLES = {"sqlite": 14, "postgresql": 6}


class Lifecycle(RuleBasedStateMachine):
    """Workers, clients and reconcilers, each of whom may do anything at any time.

    Every fence is kept, so that most calls come from attempts that lost their shard long ago.
    """

    database: ClassVar[Database]
    blobs: ClassVar[Blobs]
    folder: ClassVar[Path]
    shards = Bundle("shards")
    fences = Bundle("fences")

    @initialize()
    def begin(self) -> None:
        self.known: dict[str, KnownShard] = {}
        self.known_jobs: list[KnownJob] = []
        self.workers = [new_id("wrk") for _ in range(WORKERS)]
        self.dataset_id = add_dataset(self.database)

    # What clients do.

    @precondition(lambda self: len(self.known_jobs) < 3)
    @rule(target=shards, count=st.integers(1, SHARDS))
    def enqueue(self, count: int) -> Any:
        rows = submit_shards(self.database, count, self.dataset_id)
        job = KnownJob(rows[0].job_id)
        job.shards = [KnownShard(row, job) for row in rows]
        assert [row.place for row in rows] == list(range(count))
        self.known_jobs.append(job)
        self.known |= {shard.row.id: shard for shard in job.shards}
        return multiple(*job.shards)

    @rule(shard=shards, keep_best=st.booleans())
    def request_cancel(self, shard: KnownShard, keep_best: bool) -> None:
        job = shard.job
        before = self.rows(job)
        try:
            with self.database.writing() as session:
                row = session.get_one(Job, job.id)
                lifecycle.request_cancel(session, row, keep_best=keep_best)
        except Conflict:
            assert job.status in FINISHED or (keep_best and job.cancel == "cancel")
            assert self.rows(job) == before
            return
        assert job.status not in FINISHED
        job.request_cancel(keep_best=keep_best)

    # What workers do.

    @rule(target=fences, shard=shards, worker=st.integers(0, WORKERS - 1))
    def claim(self, shard: KnownShard, worker: int) -> Any:
        before = self.rows(shard.job)
        with self.database.writing() as session:
            claimed = lifecycle.claim(
                session, shard.row.id, owner=self.workers[worker], boot_id=BOOT
            )
        if shard.state is not State.QUEUED or not shard.due:
            assert claimed is None
            assert self.rows(shard.job) == before
            return multiple()
        assert claimed is not None
        assert claimed.fence == Fence(shard.row.id, shard.attempt + 1, self.workers[worker])
        assert claimed.fence not in shard.fences
        assert claimed.spec == shard.row.spec
        shard.begin(claimed.fence)
        return claimed.fence

    @rule(fence=fences)
    def renew(self, fence: Fence) -> None:
        if self.holds(fence, attempts.renew):
            self.known[fence.shard_id].lease_over = False

    @rule(fence=fences, epoch=st.integers(1, 3))
    def record_progress(self, fence: Fence, epoch: int) -> None:
        record = FoldEpoch(0, epoch, 0.5, 0.5, learning_rate=0.1)
        progress = {"epoch": epoch}
        if self.holds(fence, attempts.record_progress, progress, [record]):
            self.known[fence.shard_id].learn(epoch)

    @rule(fence=fences)
    def succeed(self, fence: Fence) -> None:
        shard = self.known[fence.shard_id]
        sha256 = self.stored(fence)
        if fence == shard.fence and shard.job.cancel == "cancel":
            with self.database.writing() as session:
                assert lifecycle.succeed(session, fence, result(), {}) is None
            shard.move(State.CANCELLED)
        elif model_id := self.holds(fence, lifecycle.succeed, result(), {"core.onnx": sha256}):
            shard.succeed(model_id, sha256)

    @rule(fence=fences)
    def store_and_die(self, fence: Fence) -> None:
        """A file that nobody registers."""
        self.stored(fence)

    @rule(fence=fences)
    def fail(self, fence: Fence) -> None:
        if self.holds(fence, lifecycle.fail, "The loss was not finite."):
            self.known[fence.shard_id].move(State.FAILED)

    @rule(fence=fences)
    def cancel(self, fence: Fence) -> None:
        if self.holds(fence, lifecycle.cancel):
            self.known[fence.shard_id].move(State.CANCELLED)

    @rule(fence=fences)
    def release(self, fence: Fence) -> None:
        if not self.holds(fence, lifecycle.release):
            return
        shard = self.known[fence.shard_id]
        if shard.job.cancel == "cancel":
            shard.move(State.CANCELLED)
        else:
            shard.move(State.QUEUED, attempt_counts=False)
            shard.due = True
        # It stops: who claims after it has another id.
        self.workers = [new_id("wrk") if id == fence.owner else id for id in self.workers]

    @rule(fence=fences, blame=st.sampled_from(["job", "worker", "machine"]))
    def lose(self, fence: Fence, blame: str) -> None:
        state = self.holds(fence, lifecycle.lose, "killed", blame=blame)
        if state is not None:
            shard = self.known[fence.shard_id]
            shard.lose(blame)
            assert state is shard.state

    # What time does, and the reconcilers.

    @rule(fence=fences)
    def lease_ends(self, fence: Fence) -> None:
        with self.database.writing() as session:
            session.execute(update(Shard).where(fence.holds()).values(lease_until=database_now(-1)))
        shard = self.known[fence.shard_id]
        shard.lease_over = shard.lease_over or fence == shard.fence

    @rule()
    def reconcile(self) -> None:
        over = {shard.fence for shard in self.known.values() if shard.lease_over}
        with self.database.reading() as session:
            expired = attempts.expired(session)
        assert set(expired) == over
        for fence in expired:
            self.lose(fence, blame="worker")

    @rule(shard=shards)
    def backoff_ends(self, shard: KnownShard) -> None:
        if shard.state is State.QUEUED:
            make_due(self.database, shard.row)
            shard.due = True

    @rule()
    def sweep(self) -> None:
        sweep(self.database, self.blobs)

    # The steps' common parts.

    def stored(self, fence: Fence) -> str:
        """The SHA-256 of a file of the attempt's own."""
        path = self.folder / "core.onnx"
        path.write_text(str(fence))
        return self.blobs.put_artifact(fence.shard_id, path)

    def holds(self, fence: Fence, write: Any, *details: Any, **options: Any) -> Any:
        """Write as an attempt does; nothing may change unless its fence holds."""
        shard = self.known[fence.shard_id]
        before = self.rows(shard.job)
        with self.database.writing() as session:
            written = write(session, fence, *details, **options)
        if fence == shard.fence:
            assert written
            return written
        assert not written
        assert self.rows(shard.job) == before
        return None

    def rows(self, job: KnownJob) -> list[Any]:
        """All that the database has of the job."""
        with self.database.reading() as session:
            return [
                row
                for of_job in OF_JOB
                for row in session.execute(
                    select(*of_job.class_.__table__.columns)
                    .where(of_job == job.id)
                    .order_by(*of_job.class_.__table__.primary_key)
                )
            ]

    # What always holds.

    @invariant()
    def the_rows_are_as_the_steps_say(self) -> None:
        with self.database.reading() as session:
            shards = {shard.id: shard for shard in session.scalars(select(Shard))}
            models = {model.shard_id: model for model in session.scalars(select(Model))}
        assert set(shards) == set(self.known)
        for known in self.known.values():
            shard = shards[known.row.id]
            assert shard.state is known.state
            assert (shard.attempt, shard.max_attempts) == (known.attempt, known.max_attempts)
            assert 0 <= shard.attempt <= shard.max_attempts <= MAX_ATTEMPTS_AFTER_WORKER_DEATHS
            running = known.state is State.RUNNING
            fence = Fence(shard.id, shard.attempt, shard.owner) if shard.owner else None
            assert fence == known.fence
            assert (shard.owner is not None) is running
            assert (shard.boot_id is not None) is running
            assert (shard.lease_until is not None) is running
            assert (shard.error is not None) is (known.state is State.FAILED)
            assert (shard.result is not None) is (known.state is State.SUCCEEDED)
            assert (known.row.id in models) is (known.state is State.SUCCEEDED)
            if known.state is State.SUCCEEDED:
                model = models[known.row.id]
                assert (model.id, model.job_id) == (known.model_id, known.job.id)
                assert shard.result is not None
                assert shard.result["model_id"] == known.model_id

    @invariant()
    def a_job_follows_its_shards(self) -> None:
        with self.database.reading() as session:
            jobs = {job.id: job for job in session.scalars(select(Job))}
            events = session.scalars(select(Event).order_by(Event.job_id, Event.sequence)).all()
            shards = {shard.id: shard for shard in session.scalars(select(Shard))}
        assert set(jobs) == {known.id for known in self.known_jobs}
        for known in self.known_jobs:
            job = jobs[known.id]
            assert job.status is known.status
            assert (job.started_at is not None) is any(shard.fences for shard in known.shards)
            assert (job.finished_at is not None) is (known.status in FINISHED)
            failed = [shard for shard in known.shards if shard.state is State.FAILED]
            if known.status is State.FAILED:
                assert job.error == shards[failed[0].row.id].error
            else:
                assert job.error is None
            if len(known.shards) == 1:
                assert job.result == shards[known.shards[0].row.id].result
            else:
                assert job.result is None
            asked = "keep_best" if job.keep_best else "cancel"
            assert (asked if job.cancel_requested_at else None) == known.cancel
            waiting = any(shard.state is State.QUEUED for shard in known.shards)
            assert not (known.cancel == "cancel" and waiting)
            own = [event for event in events if event.job_id == job.id]
            assert [told(event) for event in own] == known.history
            assert [event.sequence for event in own] == list(range(1, len(own) + 1))

    @invariant()
    def no_shard_ends_twice(self) -> None:
        for job in self.known_jobs:
            moves = [details for kind, *details in job.history if kind == "state"]
            ends = [place for place, state, _, _ in moves if state in FINISHED]
            assert len(ends) == len(set(ends))
            ended = [status for _, _, status, _ in moves if status in FINISHED]
            assert len(ended) == (job.status in FINISHED)

    @invariant()
    def the_files_of_each_model_are_there(self) -> None:
        for shard in self.known.values():
            if shard.state is State.SUCCEEDED:
                assert self.blobs.exists(artifact_key(shard.row.id, shard.sha256))

    @invariant()
    def one_fence_holds_at_most(self) -> None:
        with self.database.reading() as session:
            standing = {
                fence: attempts.standing(session, fence)
                for shard in self.known.values()
                for fence in shard.fences
            }
            running = attempts.running_on(session, BOOT)
        alive = {
            shard.fence: shard.job.cancel or "wanted"
            for shard in self.known.values()
            if shard.fence
        }
        assert {fence: word for fence, word in standing.items() if word != "lost"} == alive
        assert sorted(running) == sorted(alive)

    @invariant()
    def finished_is_final(self) -> None:
        for job in self.known_jobs:
            if job.status in FINISHED:
                rows = self.rows(job)
                job.rows = job.rows or rows
                assert rows == job.rows

    @invariant()
    def what_waits_and_is_due_can_be_claimed(self) -> None:
        with self.database.reading() as session:
            due = attempts.due(session, limit=len(self.known) + 1)
        waiting = {id for id, one in self.known.items() if one.state is State.QUEUED and one.due}
        assert sorted(due) == sorted(waiting)

    def teardown(self) -> None:
        """Whatever went before, every shard can still be claimed to its end, though all die."""
        try:
            for shard in getattr(self, "known", {}).values():
                while shard.state not in FINISHED:
                    self.backoff_ends(shard)
                    if shard.fence is None:
                        self.claim(shard, 0)
                    assert shard.fence is not None
                    self.lose(shard.fence, blame="worker")
            self.sweep()
            self.the_rows_are_as_the_steps_say()
            self.a_job_follows_its_shards()
            self.no_shard_ends_twice()
            self.the_files_of_each_model_are_there()
        finally:
            with self.database.writing() as session:
                for table in TABLES:
                    session.execute(delete(table))


def test_any_interleaving(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database goes along with the model, and no attempt that is over changes a row."""
    # Else a slow machine would end leases and backoffs that no step has ended.
    monkeypatch.setattr(lifecycle, "BACKOFF", LONG)
    monkeypatch.setattr(lifecycle, "LEASE", LONG)
    monkeypatch.setattr(attempts, "LEASE", LONG)
    # Nothing here cuts the power, and waiting for the disk takes most of the time.
    monkeypatch.setattr("app.storage.blobs.os.fsync", lambda _descriptor: None)
    if database.engine.dialect.name == "sqlite":
        event.listen(
            database.engine,
            "connect",
            lambda connection, _record: connection.execute("PRAGMA synchronous=OFF"),
        )
    here = {"database": database, "blobs": Blobs(str(tmp_path / "storage")), "folder": tmp_path}
    machine = type("LifecycleHere", (Lifecycle,), here)
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
