"""Any interleaving of what workers and clients do with a sweep, on both databases."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from house_api import result
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from jobs_in_database import BOOT
from sqlalchemy import delete, event, select, update
from sweeps_in_database import found, record, submit_sweep

from app.errors import Conflict
from app.ids import new_id
from app.jobs import attempts, lifecycle
from app.jobs.attempts import Fence
from app.storage.database import Database, database_now
from app.storage.tables import (
    FINISHED,
    Alias,
    Base,
    Dataset,
    Event,
    Job,
    Model,
    Shard,
    ShardKind,
    State,
    Trial,
)

# Parents last, as they have to be deleted.
TABLES: list[type[Base]] = [Event, Trial, Alias, Model, Shard, Job, Dataset]
LONG = 10_000.0  # s; no example lasts as long
STEPS = 30
EXAMPLES = {"sqlite": 8, "postgresql": 3}
LAYOUTS = st.lists(st.integers(1, 3), min_size=1, max_size=3)  # trials of each batch


class Sweeping(RuleBasedStateMachine):
    """Workers, clients and reconcilers of one sweep, each of whom may do anything at any time.

    Every fence is kept, so that most calls come from attempts that lost their shard long ago.
    """

    database: ClassVar[Database]
    fences = Bundle("fences")

    @initialize(sizes=LAYOUTS, budget=st.sampled_from([None, 2.5]))
    def begin(self, sizes: list[int], budget: float | None) -> None:
        numbers = iter(range(sum(sizes)))
        layout = [[next(numbers) for _ in range(size)] for size in sizes]
        self.trials = sum(sizes)
        [first, *_] = submit_sweep(self.database, layout, device_seconds=budget)
        self.sweep_id = first.job_id
        self.claims: dict[Fence, list[int]] = {}
        self.values: dict[int, float | None] = {}  # that were recorded
        self.asked: str | None = None
        self.last: Any = None  # all rows, once the sweep has ended

    def shards(self) -> list[Shard]:
        with self.database.reading() as session:
            return [*session.scalars(select(Shard).order_by(Shard.place))]

    def writes(self, fence: Fence, write: Any, *details: Any, **options: Any) -> Any:
        """Nothing may change unless the fence holds."""
        held = self.holds(fence)
        before = None if held else self.rows()
        with self.database.writing() as session:
            written = write(session, fence, *details, **options)
        if not held:
            assert not written
            assert self.rows() == before
        return written

    def holds(self, fence: Fence) -> bool:
        with self.database.reading() as session:
            return session.scalar(select(Shard.id).where(fence.holds())) is not None

    def rows(self) -> list[Any]:
        with self.database.reading() as session:
            return [
                row
                for table in (Job, Shard, Trial, Event, Model)
                for row in session.execute(
                    select(*table.__table__.columns).order_by(*table.__table__.primary_key)
                )
            ]

    @rule(target=fences, which=st.integers(0, 20))
    def claim(self, which: int) -> Any:
        shards = self.shards()
        shard = shards[which % len(shards)]
        with self.database.writing() as session:
            waiting = (Shard.id == shard.id) & (Shard.state == State.QUEUED)
            session.execute(update(Shard).where(waiting).values(due_at=database_now()))
        with self.database.writing() as session:
            claimed = lifecycle.claim(session, shard.id, owner=new_id("wrk"), boot_id=BOOT)
        if claimed is None:
            return Fence("shd_none", 0, "nobody")
        assert shard.state is State.QUEUED
        self.claims[claimed.fence] = [*claimed.trials]
        if claimed.kind is ShardKind.MODEL:
            files = {file.number: file.folder for file in claimed.files}
            assert files.keys() == {n for n, value in self.values.items() if value is not None}
            folders = {own.id: own for own in shards}
            for number, folder in files.items():
                assert number in folders[folder].spec["trials"]
                assert folders[folder].state is State.SUCCEEDED
        return claimed.fence

    @rule(fence=fences, failing=st.sets(st.integers(0, 8), max_size=3))
    def record(self, fence: Fence, failing: set[int]) -> None:
        """What a batch found; the fence of another kind of shard makes the model."""
        if self.is_model(fence):
            self.writes(fence, lifecycle.succeed, result(), {})
            return
        rows = [
            found(number, error="it diverged")
            if number in failing
            else found(number, float(number))
            for number in self.claims.get(fence, [0])
        ]
        held, before = self.holds(fence), self.rows()
        if record(self.database, fence, rows):
            assert held
            for row in rows:
                assert row["number"] not in self.values
                self.values[row["number"]] = row.get("metrics", {}).get("rmse")
        elif not held:
            assert self.rows() == before

    @rule(fence=fences)
    def fail(self, fence: Fence) -> None:
        self.writes(fence, lifecycle.fail, "no memory")

    @rule(fence=fences)
    def cancel_attempt(self, fence: Fence) -> None:
        if self.asked == "cancel":  # else no child stops for it
            self.writes(fence, lifecycle.cancel)

    @rule(fence=fences)
    def release(self, fence: Fence) -> None:
        self.writes(fence, lifecycle.release)

    @rule(fence=fences, blame=st.sampled_from(["job", "worker", "machine"]))
    def lose(self, fence: Fence, blame: str) -> None:
        self.writes(fence, lifecycle.lose, "killed", blame=blame)

    @rule(fence=fences, epoch=st.integers(0, 3))
    def progress(self, fence: Fence, epoch: int) -> None:
        self.writes(fence, attempts.record_progress, {"epoch": epoch, "fraction": 0.5})

    @precondition(lambda self: len(self.claims) > 2)
    @rule(keep_best=st.booleans())
    def request_cancel(self, keep_best: bool) -> None:
        before = self.rows()
        try:
            with self.database.writing() as session:
                job = session.get_one(Job, self.sweep_id)
                lifecycle.request_cancel(session, job, keep_best=keep_best)
        except Conflict:
            assert self.rows() == before
            return
        if self.asked != "cancel":
            self.asked = "keep_best" if keep_best else "cancel"

    @precondition(lambda self: len(self.claims) > 3)
    @rule()
    def deadline_passes(self) -> None:
        with self.database.writing() as session:
            running = (Job.id == self.sweep_id) & Job.status.not_in(FINISHED)
            session.execute(update(Job).where(running).values(deadline_at=database_now(-1)))

    def is_model(self, fence: Fence) -> bool:
        return any(s.id == fence.shard_id and s.kind is ShardKind.MODEL for s in self.shards())

    @invariant()
    def one_shard_at_most_makes_the_model_and_comes_last(self) -> None:
        shards = self.shards()
        assert [shard.place for shard in shards] == [*range(len(shards))]
        models = [shard for shard in shards if shard.kind is ShardKind.MODEL]
        assert len(models) <= 1
        if models:
            assert models[0] is shards[-1]
            assert all(shard.state in FINISHED for shard in shards[:-1])
            assert any(value is not None for value in self.values.values())

    @invariant()
    def each_trial_is_in_one_batch_that_may_still_train_it(self) -> None:
        batches = [shard for shard in self.shards() if shard.kind is ShardKind.BATCH]
        with self.database.reading() as session:
            trials = session.scalars(select(Trial).order_by(Trial.number)).all()
        assert [trial.number for trial in trials] == [*range(self.trials)]
        waiting = [n for own in batches if own.state not in FINISHED for n in own.spec["trials"]]
        queued = [trial.number for trial in trials if trial.state is State.QUEUED]
        assert sorted(waiting) == queued
        for trial in trials:
            assert trial.number in batches[trial.shard].spec["trials"]
            assert trial.value == self.values.get(trial.number)
            assert (trial.state is State.SUCCEEDED) is (trial.value is not None)
            assert (trial.number in self.values) <= (trial.state in FINISHED)

    @invariant()
    def the_sweep_ends_once(self) -> None:
        with self.database.reading() as session:
            job = session.get_one(Job, self.sweep_id)
            events = session.scalars(select(Event).order_by(Event.sequence)).all()
            models = session.scalars(select(Model)).all()
        assert [own.sequence for own in events] == [*range(1, len(events) + 1)]
        told = [own.data["trial"] for own in events if own.kind == "trial"]
        assert sorted(told) == sorted(self.values)
        ends = [o for o in events if o.kind == "state" and o.data["status"] in FINISHED]
        assert len(ends) == (job.status in FINISHED)
        assert len(models) == (job.status is State.SUCCEEDED)
        assert (job.finished_at is not None) is (job.status in FINISHED)
        assert (job.error is not None) is (job.status is State.FAILED)
        shards = self.shards()
        assert (job.status in FINISHED) is all(shard.state in FINISHED for shard in shards)
        if job.status in FINISHED:
            assert events[-1] is ends[0]
            if self.asked != "cancel" and any(v is not None for v in self.values.values()):
                # What has trained is not thrown away, unless that was asked for.
                assert job.status in (State.SUCCEEDED, State.FAILED)
                assert shards[-1].kind is ShardKind.MODEL
            rows = self.rows()
            self.last = self.last or rows
            assert rows == self.last

    @invariant()
    def nothing_waits_in_a_cancelled_sweep(self) -> None:
        if self.asked == "cancel":
            assert all(shard.state is not State.QUEUED for shard in self.shards())

    def teardown(self) -> None:
        """Whatever went before, the sweep can be brought to its end."""
        try:
            while hasattr(self, "claims"):
                open_ones = [s for s in self.shards() if s.state not in FINISHED]
                if not open_ones:
                    break
                shard = open_ones[0]
                if shard.state is State.QUEUED:
                    self.claim(shard.place)
                elif shard.owner is not None:
                    self.record(Fence(shard.id, shard.attempt, shard.owner), set())
                self.one_shard_at_most_makes_the_model_and_comes_last()
                self.each_trial_is_in_one_batch_that_may_still_train_it()
                self.the_sweep_ends_once()
        finally:
            with self.database.writing() as session:
                for table in TABLES:
                    session.execute(delete(table))


def test_any_interleaving(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    # Else a slow machine would end leases that no step has ended.
    monkeypatch.setattr(lifecycle, "LEASE", LONG)
    monkeypatch.setattr(attempts, "LEASE", LONG)
    if database.engine.dialect.name == "sqlite":
        # Nothing here cuts the power, and waiting for the disk takes most of the time.
        event.listen(
            database.engine,
            "connect",
            lambda connection, _record: connection.execute("PRAGMA synchronous=OFF"),
        )
    run_state_machine_as_test(
        type("SweepingHere", (Sweeping,), {"database": database}),
        settings=settings(
            max_examples=EXAMPLES[database.engine.dialect.name],
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,  # so that a run of CI fails only for what was changed
            phases=[Phase.generate],  # shrinking takes minutes
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
