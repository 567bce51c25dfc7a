"""Cancelling jobs, and what comes at the same moment, on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from jobs_in_database import BOOT, claim, make_due, request_cancel, stored, submit
from known_jobs import result
from sqlalchemy import select, update

from app.errors import Conflict
from app.jobs import attempts, lifecycle
from app.jobs.attempts import Fence
from app.storage.database import Database, database_now
from app.storage.tables import Job, Model, Shard, State
from models.epochs import FoldEpoch


def test_a_queued_job_is_cancelled_at_once(database: Database) -> None:
    shard = submit(database)
    request_cancel(database, shard)
    row, job = stored(database, shard)
    assert (row.state, job.status) == (State.CANCELLED, State.CANCELLED)
    assert job.finished_at is not None
    with pytest.raises(Conflict, match="cancelled"):
        request_cancel(database, shard)
    with database.writing() as session:
        assert lifecycle.claim(session, shard.id, owner="wrk_a", boot_id=BOOT) is None


def test_a_running_job_is_asked_to_stop(database: Database) -> None:
    shard = submit(database)
    fence = claim(database, shard).fence
    request_cancel(database, shard)
    _, job = stored(database, shard)
    assert job.status is State.RUNNING
    with database.reading() as session:
        assert attempts.standing(session, fence) == "cancel"
    request_cancel(database, shard)  # a second time changes nothing
    assert stored(database, shard)[1].cancel_requested_at == job.cancel_requested_at
    with database.writing() as session:
        assert lifecycle.cancel(session, fence)
    assert stored(database, shard)[1].status is State.CANCELLED


@pytest.mark.parametrize(
    ("progress", "epochs"),
    [
        ({"fraction": 0.1, "epoch": 0}, []),  # of the slowest member
        ({"fraction": 0.0, "epoch": 0}, [FoldEpoch(0, 1, 0.5, 0.5, 0.1)]),  # as it begins again
    ],
)
def test_a_job_whose_time_is_up_keeps_its_best(
    database: Database, progress: dict[str, float], epochs: list[FoldEpoch]
) -> None:
    shard = submit(database, timeout_s=100.0)
    fence = claim(database, shard).fence
    with database.writing() as session:
        attempts.record_progress(session, fence, progress, epochs)
        assert attempts.standing(session, fence) == "wanted"
        session.execute(update(Job).values(deadline_at=database_now(-1)))
        assert attempts.standing(session, fence) == "keep_best"
        assert lifecycle.release(session, fence)
    # The next attempt ends with what it has.
    fence = claim(database, shard).fence
    with database.writing() as session:
        assert lifecycle.succeed(session, fence, result(), {}) is not None
    assert stored(database, shard)[1].status is State.SUCCEEDED


@pytest.mark.parametrize("is_running", [True, False])
def test_a_job_whose_time_is_up_before_it_has_learnt_anything(
    database: Database, is_running: bool
) -> None:
    shard = submit(database, timeout_s=100.0)
    fence = claim(database, shard).fence
    with database.writing() as session:
        session.execute(update(Job).values(deadline_at=database_now(-1)))
        if is_running:
            assert lifecycle.cancel(session, fence)
        else:
            assert lifecycle.release(session, fence)
            assert lifecycle.claim(session, shard.id, owner="wrk_b", boot_id=BOOT) is None
    _, job = stored(database, shard)
    assert job.status is State.FAILED
    assert job.error is not None
    assert "time limit of 100 s" in job.error["detail"]


@pytest.mark.parametrize("ending", ["release", "lose"])
def test_a_job_to_keep_its_best_is_finished_by_the_next_attempt(
    database: Database, ending: str
) -> None:
    shard = submit(database)
    fence = claim(database, shard).fence
    with database.writing() as session:
        assert attempts.record_progress(
            session, fence, {"epoch": 1}, [FoldEpoch(0, 1, 0.5, 0.5, 0.1)]
        )
    request_cancel(database, shard, keep_best=True)
    with database.reading() as session:
        assert attempts.standing(session, fence) == "keep_best"
    with database.writing() as session:
        if ending == "release":
            assert lifecycle.release(session, fence)
        else:
            assert lifecycle.lose(session, fence, "killed") is State.QUEUED
    request_cancel(database, shard, keep_best=True)  # it waits: a second time changes nothing
    make_due(database, shard)
    fence = claim(database, shard).fence
    with database.reading() as session:
        assert attempts.standing(session, fence) == "keep_best"
    request_cancel(database, shard)  # for good
    with database.reading() as session:
        assert attempts.standing(session, fence) == "cancel"


def test_a_run_that_ends_after_its_cancellation_gives_no_model(database: Database) -> None:
    """Whoever was answered that the job is being cancelled will not find a model of it."""
    shard = submit(database)
    fence = claim(database, shard).fence
    request_cancel(database, shard)
    with pytest.raises(Conflict, match="without keep_best"):
        request_cancel(database, shard, keep_best=True)
    with database.writing() as session:
        assert lifecycle.succeed(session, fence, result(), {}) is None
    assert stored(database, shard)[1].status is State.CANCELLED
    with database.reading() as session:
        assert session.scalars(select(Model)).all() == []


def test_a_queued_job_that_has_learnt_nothing_is_cancelled(database: Database) -> None:
    shard = submit(database)
    request_cancel(database, shard, keep_best=True)
    assert stored(database, shard)[1].status is State.CANCELLED


@pytest.mark.parametrize("ending", ["release", "lose"])
def test_a_job_to_be_cancelled_is_not_queued_again(database: Database, ending: str) -> None:
    shard = submit(database)
    fence = claim(database, shard).fence
    request_cancel(database, shard)
    with database.writing() as session:
        if ending == "release":
            assert lifecycle.release(session, fence)
        else:
            assert lifecycle.lose(session, fence, "killed") is State.CANCELLED
    assert stored(database, shard)[1].status is State.CANCELLED


@pytest.mark.parametrize("other", ["claim", "release", "succeed"])
def test_cancel_at_the_same_moment_as(other: str, database: Database) -> None:
    """Whichever is first, the job ends cancelled or finished, never queued or half and half."""
    for _ in range(10):
        shard = submit(database)
        fence = claim(database, shard).fence if other != "claim" else None
        start = threading.Barrier(2)

        def act(
            shard: Shard = shard, fence: Fence | None = fence, start: threading.Barrier = start
        ) -> None:
            with database.writing() as session:
                start.wait()
                if fence is None:
                    lifecycle.claim(session, shard.id, owner="wrk_a", boot_id=BOOT)
                elif other == "release":
                    lifecycle.release(session, fence)
                else:
                    lifecycle.succeed(session, fence, result(), {})

        def cancel(shard: Shard = shard, start: threading.Barrier = start) -> bool:
            start.wait()
            try:
                request_cancel(database, shard)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            acting, cancelling = pool.submit(act), pool.submit(cancel)
            acting.result()
            accepted = cancelling.result()
        row, job = stored(database, shard)
        assert row.state is job.status
        if other == "claim":
            assert job.status is State.CANCELLED or job.cancel_requested_at is not None
        elif other == "release":
            assert job.status is State.CANCELLED
        else:
            assert job.status is (State.CANCELLED if accepted else State.SUCCEEDED)
