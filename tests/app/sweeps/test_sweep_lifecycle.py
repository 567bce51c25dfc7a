"""How a sweep's batches end, and what they make of the sweep."""

from __future__ import annotations

import pytest
from house_api import result
from jobs_in_database import BOOT, claim, events_of, request_cancel
from sqlalchemy import update
from sweeps_in_database import found, record, submit_sweep, sweep_of

from app.jobs import attempts, batches, lifecycle
from app.storage.database import Database, database_now
from app.storage.tables import Job, Shard, ShardKind, State


def test_the_last_batch_that_ends_queues_the_shard_that_makes_the_model(
    database: Database,
) -> None:
    first, second = submit_sweep(database, [[0, 1], [2, 3]])
    assert record(database, claim(database, first).fence, [found(0, 2.0), found(1, 1.0)])
    job, shards, _ = sweep_of(database, first)
    assert (job.status, len(shards)) == (State.QUEUED, 2)
    rows = [found(2, error="its numbers stopped being finite"), found(3, 3.0)]
    assert record(database, claim(database, second).fence, rows)
    job, shards, trials = sweep_of(database, first)
    assert (job.status, [shard.kind for shard in shards]) == (
        State.QUEUED,
        [ShardKind.BATCH, ShardKind.BATCH, ShardKind.MODEL],
    )
    assert [trial.value for trial in trials] == [2.0, 1.0, None, 3.0]
    assert trials[2].error == "its numbers stopped being finite"
    last = claim(database, shards[2])
    assert [(file.number, file.folder) for file in last.files] == [
        (0, first.id),
        (1, first.id),
        (3, second.id),
    ]
    with database.writing() as session:
        model_id = lifecycle.succeed(session, last.fence, result(), {})
    job, _, _ = sweep_of(database, first)
    assert job.result is not None
    assert (job.status, job.result["model_id"]) == (State.SUCCEEDED, model_id)
    ended = [event.data for event in events_of(database, job.id) if event.kind == "trial"]
    assert [(event["trial"], event["state"], event["value"]) for event in ended] == [
        (0, "succeeded", 2.0),
        (1, "succeeded", 1.0),
        (2, "failed", None),
        (3, "succeeded", 3.0),
    ]


def test_a_sweep_without_a_trial_that_succeeded_has_failed_with_its_reason(
    database: Database,
) -> None:
    [shard] = submit_sweep(database, [[0, 1]])
    rows = [found(0, error="it diverged"), found(1, error="it diverged too")]
    assert record(database, claim(database, shard).fence, rows)
    job, shards, _ = sweep_of(database, shard)
    assert (job.status, len(shards)) == (State.FAILED, 1)
    assert job.error is not None
    assert "it diverged" in job.error["detail"]
    assert job.error["instance"] == f"/v1/sweeps/{job.id}"


def fail(database: Database, shard: Shard) -> None:
    fence = claim(database, shard).fence
    with database.writing() as session:
        assert lifecycle.fail(session, fence, "no memory")


def test_a_batch_that_fails_is_split_until_the_trial_that_fails_is_alone(
    database: Database,
) -> None:
    [shard] = submit_sweep(database, [[0, 1, 2]])
    fail(database, shard)
    job, shards, trials = sweep_of(database, shard)
    assert job.status is State.QUEUED
    assert [own.spec["trials"] for own in shards] == [[0, 1, 2], [0], [1, 2]]
    assert {trial.state for trial in trials} == {State.QUEUED}
    fail(database, shards[1])
    assert record(database, claim(database, shards[2]).fence, [found(1, 1.0), found(2, 2.0)])
    job, shards, trials = sweep_of(database, shard)
    assert [trial.state for trial in trials] == [State.FAILED, State.SUCCEEDED, State.SUCCEEDED]
    assert trials[0].error == "no memory"
    assert shards[-1].kind is ShardKind.MODEL
    last = claim(database, shards[-1])
    assert {file.folder for file in last.files} == {shards[2].id}


def test_a_cancelled_sweep_has_no_model(database: Database) -> None:
    first, second = submit_sweep(database, [[0], [1]])
    assert record(database, claim(database, first).fence, [found(0, 1.0)])
    request_cancel(database, first)
    job, shards, trials = sweep_of(database, first)
    assert (job.status, len(shards)) == (State.CANCELLED, 2)
    assert [trial.state for trial in trials] == [State.SUCCEEDED, State.CANCELLED]
    assert second.id == shards[1].id


def test_keep_best_makes_the_model_of_what_has_trained(database: Database) -> None:
    first, second, third = submit_sweep(database, [[0], [1], [2]])
    assert record(database, claim(database, first).fence, [found(0, 1.0)])
    fence = claim(database, second).fence
    request_cancel(database, first, keep_best=True)
    with database.reading() as session:
        assert attempts.standing(session, fence) == "keep_best"
    assert sweep_of(database, third)[1][2].state is State.CANCELLED
    assert record(database, fence, [found(1, 2.0)])
    job, shards, _ = sweep_of(database, first)
    assert (job.status, shards[-1].kind) == (State.QUEUED, ShardKind.MODEL)
    fence = claim(database, shards[-1]).fence
    with database.writing() as session:
        assert lifecycle.succeed(session, fence, result(), {})
    assert sweep_of(database, first)[0].status is State.SUCCEEDED


def test_no_batch_begins_after_the_deadline(database: Database) -> None:
    first, second = submit_sweep(database, [[0], [1]], timeout_s=100.0)
    fence = claim(database, first).fence
    with database.writing() as session:
        assert attempts.standing(session, fence) == "wanted"
        session.execute(update(Job).values(deadline_at=database_now(-1)))
    with database.reading() as session:
        assert attempts.standing(session, fence) == "keep_best"
    assert record(database, fence, [found(0, 1.0)])
    with database.writing() as session:
        assert lifecycle.claim(session, second.id, owner="wrk_a", boot_id=BOOT) is None
    _, shards, trials = sweep_of(database, first)
    assert (shards[1].state, shards[2].kind) == (State.CANCELLED, ShardKind.MODEL)
    assert trials[1].error is not None
    assert "time was up" in trials[1].error
    fence = claim(database, shards[2]).fence
    with database.reading() as session:
        assert attempts.standing(session, fence) == "wanted"


def test_a_sweep_whose_time_is_up_before_it_has_learnt_anything_says_so(
    database: Database,
) -> None:
    first, second = submit_sweep(database, [[0], [1]], timeout_s=100.0)
    fence = claim(database, first).fence
    with database.writing() as session:
        session.execute(update(Job).values(deadline_at=database_now(-1)))
        assert lifecycle.cancel(session, fence)
        assert lifecycle.claim(session, second.id, owner="wrk_a", boot_id=BOOT) is None
    job, _, trials = sweep_of(database, first)
    assert job.status is State.FAILED
    assert [trial.error for trial in trials] == [batches.OVER_BUDGET] * 2
    assert job.error is not None
    assert batches.OVER_BUDGET in job.error["detail"]


def test_a_sweep_cancelled_before_it_began_is_cancelled(database: Database) -> None:
    first, _ = submit_sweep(database, [[0], [1]])
    request_cancel(database, first)
    job, _, _ = sweep_of(database, first)
    assert (job.status, job.error) == (State.CANCELLED, None)


def test_no_batch_begins_once_the_device_time_is_spent(database: Database) -> None:
    first, second = submit_sweep(database, [[0], [1]], device_seconds=5.0)
    assert record(database, claim(database, first).fence, [found(0, 1.0)], seconds=6.0)
    with database.writing() as session:
        assert lifecycle.claim(session, second.id, owner="wrk_a", boot_id=BOOT) is None
    assert sweep_of(database, first)[1][2].kind is ShardKind.MODEL


@pytest.mark.parametrize("budget", [{"timeout_s": 60.0}, {"device_seconds": 5.0}])
def test_a_batch_that_has_trained_goes_on_after_the_budget(
    database: Database, budget: dict[str, float]
) -> None:
    """Its worker was killed; the next attempt ends with the weights of the checkpoint."""
    first, second = submit_sweep(database, [[0], [1]], **budget)
    fence = claim(database, second).fence
    with database.writing() as session:
        assert attempts.record_progress(session, fence, {"fraction": 0.5, "epoch": 3})
        lifecycle.lose(session, fence, "killed", blame="worker")
        session.execute(update(Shard).values(due_at=database_now()))
    assert record(database, claim(database, first).fence, [found(0, 1.0)], seconds=6.0)
    with database.writing() as session:
        session.execute(update(Job).values(deadline_at=database_now(-1)))
    fence = claim(database, second).fence
    with database.reading() as session:
        assert attempts.standing(session, fence) == "keep_best"
    assert record(database, fence, [found(1, 2.0)])
    assert [trial.value for trial in sweep_of(database, first)[2]] == [1.0, 2.0]


def test_an_attempt_that_lost_its_claim_records_nothing(database: Database) -> None:
    [shard] = submit_sweep(database, [[0]])
    fence = claim(database, shard).fence
    with database.writing() as session:
        lifecycle.lose(session, fence, "killed", blame="worker")
    assert not record(database, fence, [found(0, 1.0)])
    assert sweep_of(database, shard)[2][0].state is State.QUEUED


def test_a_sweep_is_no_job(database: Database) -> None:
    [shard] = submit_sweep(database, [[0]])
    assert shard.job_id.startswith("swp_")
    with database.reading() as session:
        assert isinstance(session.get_one(Shard, shard.id).kind, ShardKind)


def test_keep_best_lets_the_shard_that_makes_the_model_wait(database: Database) -> None:
    [batch] = submit_sweep(database, [[0]])
    assert record(database, claim(database, batch).fence, [found(0, 1.0)])
    request_cancel(database, batch, keep_best=True)
    job, shards, _ = sweep_of(database, batch)
    assert (job.status, shards[1].state) == (State.QUEUED, State.QUEUED)
    fence = claim(database, shards[1]).fence
    with database.writing() as session:
        assert lifecycle.succeed(session, fence, result(), {})
    assert sweep_of(database, batch)[0].status is State.SUCCEEDED


def test_a_batch_of_a_cancelled_sweep_that_fails_is_not_split(database: Database) -> None:
    [batch] = submit_sweep(database, [[0, 1, 2]])
    fence = claim(database, batch).fence
    request_cancel(database, batch)
    with database.writing() as session:
        assert lifecycle.fail(session, fence, "no memory")
    job, shards, trials = sweep_of(database, batch)
    assert (job.status, len(shards)) == (State.CANCELLED, 1)
    assert [trial.error for trial in trials] == ["no memory"] * 3


def test_a_batch_none_of_whose_trials_fits_has_ended(database: Database) -> None:
    first, second = submit_sweep(database, [[0], [1]])
    assert record(database, claim(database, first).fence, [])
    assert record(database, claim(database, second).fence, [found(1, 1.0)])
    assert sweep_of(database, first)[1][2].kind is ShardKind.MODEL
