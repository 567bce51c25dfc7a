"""Transitions, fences and races, on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from datetime import timedelta
from typing import Literal

import pytest
from jobs_in_database import (
    BOOT,
    add_dataset,
    claim,
    history,
    make_due,
    request_cancel,
    stored,
    submit,
)
from known_jobs import result
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.jobs import attempts, lifecycle
from app.jobs.attempts import LEASE, Fence
from app.jobs.lifecycle import Claim
from app.storage.database import Database, database_now
from app.storage.tables import (
    MAX_ATTEMPTS_AFTER_WORKER_DEATHS,
    Alias,
    EpochMetric,
    Model,
    Shard,
    State,
)
from models.epochs import FoldEpoch

LONG = 3600.0  # s; a backoff that no test sees the end of


def epoch(number: int, loss: float = 0.5) -> FoldEpoch:
    return FoldEpoch(
        fold=0,
        epoch=number,
        train_loss=loss,
        validation_loss=2 * loss,
        learning_rate=loss / 100,
        gradient_norm=3 * loss,
        dead_units=loss / 2,
        saturated_units=loss / 4,
    )


def test_a_job_from_submit_to_success(database: Database) -> None:
    shard = submit(database)
    claimed = claim(database, shard)
    assert claimed.fence == Fence(shard.id, 1, "wrk_a")
    assert claimed.spec == {"target": "SalePrice"}
    assert claimed.profile == {"rows": 1}
    with database.writing() as session:
        model_id = lifecycle.succeed(session, claimed.fence, result(), {"core.onnx": "00"})

    row, job = stored(database, shard)
    assert (row.state, job.status) == (State.SUCCEEDED, State.SUCCEEDED)
    assert row.owner is None
    assert row.lease_until is None
    assert job.result == {"model_id": model_id, **result()}
    assert job.started_at is not None
    assert job.finished_at is not None
    assert job.started_at <= job.finished_at
    assert history(database, shard) == [("queued", 0), ("running", 1), ("succeeded", 1)]
    with database.reading() as session:
        assert session.get_one(Model, model_id).artifacts == {"core.onnx": "00"}


def test_only_the_first_model_becomes_champion(database: Database) -> None:
    dataset_id = add_dataset(database)
    models = []
    for tenant in ("local", "local", "other"):
        claimed = claim(database, submit(database, dataset_id, tenant))
        with database.writing() as session:
            models.append(lifecycle.succeed(session, claimed.fence, result(), {}))
    with database.reading() as session:
        champions = {alias.tenant: alias.model_id for alias in session.scalars(select(Alias))}
    assert champions == {"local": models[0], "other": models[2]}


def test_of_claims_at_once_one_wins(database: Database) -> None:
    shards = [submit(database) for _ in range(5)]
    workers = [f"wrk_{number}" for number in range(8)]
    start = threading.Barrier(len(workers))

    def claim_all(owner: str) -> list[Claim]:
        start.wait()
        won = []
        for shard in shards:
            with database.writing() as session:
                claimed = lifecycle.claim(session, shard.id, owner=owner, boot_id=BOOT)
            won += [claimed] if claimed else []
        return won

    with ThreadPoolExecutor(len(workers)) as pool:
        won = [claimed.fence for batch in pool.map(claim_all, workers) for claimed in batch]
    assert sorted(fence.shard_id for fence in won) == sorted(shard.id for shard in shards)
    for fence in won:
        with database.reading() as session:
            row = session.get_one(Shard, fence.shard_id)
        assert (row.attempt, row.owner) == (1, fence.owner)


def test_a_revived_worker_writes_nothing(database: Database) -> None:
    """Its shard was given to another: every write finds its fence down."""
    shard = submit(database)
    old = claim(database, shard).fence
    with database.writing() as session:
        assert lifecycle.lose(session, old, "it seemed dead") is State.QUEUED
    make_due(database, shard)
    new = claim(database, shard, "wrk_b").fence
    before = history(database, shard)

    with database.writing() as session:
        assert not attempts.renew(session, old)
        assert not attempts.record_progress(session, old, {"fraction": 0.1}, [epoch(1)])
        assert lifecycle.succeed(session, old, result(), {}) is None
        assert not lifecycle.fail(session, old, "no")
        assert not lifecycle.cancel(session, old)
        assert not lifecycle.release(session, old)
        assert lifecycle.lose(session, old, "no") is None
    with database.reading() as session:
        assert attempts.standing(session, old) == "lost"
        assert attempts.standing(session, new) == "wanted"
        assert session.scalars(select(Model)).all() == []
        assert session.scalars(select(EpochMetric)).all() == []
    row, job = stored(database, shard)
    assert (row.state, row.attempt, row.owner) == (State.RUNNING, 2, "wrk_b")
    assert row.progress is None
    assert job.error is None
    assert history(database, shard) == before


def test_a_release_refunds_the_attempt(database: Database) -> None:
    shard = submit(database)
    for _ in range(5):
        claimed = claim(database, shard)
        assert claimed.fence.attempt == 1
        with database.writing() as session:
            assert lifecycle.release(session, claimed.fence)
    row, job = stored(database, shard)
    assert (row.state, row.attempt) == (State.QUEUED, 0)
    assert job.status is State.QUEUED


def backoffs(session: Session, shard: Shard) -> float:
    """For how long a lost shard waits, in units of the first wait; a slow machine makes it less."""
    wait = session.get_one(Shard, shard.id).due_at - session.scalar(select(database_now()))
    return float(wait / timedelta(seconds=lifecycle.BACKOFF))


def test_lost_attempts_wait_longer_and_longer_and_are_exhausted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "BACKOFF", LONG)
    shard = submit(database)
    for attempt, doubled in ((1, 1), (2, 2)):
        fence = claim(database, shard).fence
        assert fence.attempt == attempt
        with database.writing() as session:
            assert lifecycle.lose(session, fence, "killed") is State.QUEUED
            assert doubled / 2 < backoffs(session, shard) <= doubled
            assert lifecycle.claim(session, shard.id, owner="wrk_a", boot_id=BOOT) is None
        make_due(database, shard)
    fence = claim(database, shard).fence
    with database.writing() as session:
        assert lifecycle.lose(session, fence, "Take a smaller batch_size.") is State.FAILED

    row, job = stored(database, shard)
    assert (row.state, job.status) == (State.FAILED, State.FAILED)
    assert job.error is not None
    assert job.error["type"].endswith("/attempts-exhausted")
    assert "attempts_exhausted" in job.error["title"]
    assert job.error["detail"] == "Take a smaller batch_size."
    assert job.error["instance"] == f"/v1/jobs/{job.id}"
    assert job.finished_at is not None
    assert [status for status, _ in history(database, shard)] == [
        "queued", "running", "queued", "running", "queued", "running", "failed",
    ]  # fmt: skip


@pytest.mark.parametrize(("blame", "factor"), [("worker", 1), ("machine", 2)])
def test_what_is_not_a_jobs_doing_does_not_use_its_attempts_up_unless_it_goes_on(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    blame: Literal["worker", "machine"],
    factor: int,
) -> None:
    """Another worker takes over at once; a disk that is full is asked less and less often."""
    monkeypatch.setattr(lifecycle, "BACKOFF", LONG)
    shard = submit(database)
    for attempt in range(1, MAX_ATTEMPTS_AFTER_WORKER_DEATHS + 1):
        fence = claim(database, shard).fence
        assert fence.attempt == attempt
        with database.writing() as session:
            state = lifecycle.lose(session, fence, "killed", blame=blame)
            if attempt < MAX_ATTEMPTS_AFTER_WORKER_DEATHS:
                assert state is State.QUEUED
                wait = factor ** (attempt - 1)
                assert wait / 2 < backoffs(session, shard) <= wait
        make_due(database, shard)
    assert state is State.FAILED
    assert stored(database, shard)[0].max_attempts == MAX_ATTEMPTS_AFTER_WORKER_DEATHS


def test_a_failed_run_is_not_tried_again(database: Database) -> None:
    shard = submit(database)
    fence = claim(database, shard).fence
    with database.writing() as session:
        assert lifecycle.fail(session, fence, "The loss was not finite: lower learning_rate.")
    row, job = stored(database, shard)
    assert (row.state, row.attempt, job.status) == (State.FAILED, 1, State.FAILED)
    assert job.error is not None
    assert job.error["type"].endswith("/training-failed")


def test_a_lease_runs_out_unless_it_is_renewed(database: Database) -> None:
    shard = submit(database)
    fence = claim(database, shard).fence
    with database.writing() as session:
        assert attempts.expired(session) == []
        lease = session.get_one(Shard, shard.id).lease_until
        now = session.scalar(select(database_now()))
        assert lease is not None
        assert now is not None
        assert timedelta(seconds=LEASE - 5) < lease - now <= timedelta(seconds=LEASE)
    with database.writing() as session:
        session.execute(update(Shard).values(lease_until=database_now(-1)))
    with database.writing() as session:
        assert attempts.expired(session) == [fence]
        assert attempts.renew(session, fence)
        assert attempts.expired(session) == []


def test_attempts_are_found_by_the_boot_of_their_host(database: Database) -> None:
    fence = claim(database, submit(database)).fence
    with database.reading() as session:
        assert attempts.running_on(session, BOOT) == [fence]
        assert attempts.running_on(session, "boot-2") == []


def test_a_resumed_run_reports_epochs_again(database: Database) -> None:
    shard = submit(database)
    fence = claim(database, shard).fence
    progress = {"fraction": 0.5}
    with database.writing() as session:
        assert attempts.record_progress(session, fence, progress, [epoch(1), epoch(2, loss=0.4)])
    with database.writing() as session:
        assert attempts.record_progress(session, fence, progress, [epoch(2, loss=0.3), epoch(3)])
    with database.reading() as session:
        rows = session.scalars(select(EpochMetric).order_by(EpochMetric.epoch)).all()
        names = [field.name for field in fields(FoldEpoch)]
        kept = [FoldEpoch(**{name: getattr(row, name) for name in names}) for row in rows]
        assert kept == [epoch(1), epoch(2, loss=0.3), epoch(3)]
        assert session.get_one(Shard, shard.id).progress == progress


def test_shards_are_due_in_the_order_of_their_submission(database: Database) -> None:
    shards = [submit(database) for _ in range(3)]
    with database.writing() as session:
        session.execute(
            update(Shard).where(Shard.id == shards[0].id).values(due_at=database_now(60))
        )
    with database.reading() as session:
        assert attempts.due(session, limit=5) == [shards[1].id, shards[2].id]
        assert attempts.due(session, limit=1) == [shards[1].id]


def test_a_finished_shard_stays_as_it_is(database: Database) -> None:
    shard = submit(database)
    request_cancel(database, shard)
    with database.writing() as session:
        row = session.get_one(Shard, shard.id)
        with pytest.raises(ValueError, match="cancelled cannot become running"):
            lifecycle._move(session, row, State.RUNNING)
