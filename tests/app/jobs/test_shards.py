"""Jobs of several shards: whose turn it is, how they end, and how they are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import resources_of, result, submit, upload, write_artifacts
from jobs_in_database import (
    BOOT,
    add_dataset,
    claim,
    request_cancel,
    shards_of,
    stored,
    submit_shards,
)
from jobs_in_database import submit as submit_one
from sqlalchemy import update

from app.jobs import attempts, lifecycle
from app.jobs.attempts import Fence
from app.storage.blobs import ARTIFACTS, artifacts_key
from app.storage.database import Database, database_now
from app.storage.tables import LOCAL_TENANT, Job, Shard, State
from models.epochs import FoldEpoch

ENDS: dict[str, Any] = {
    "succeed": lambda session, fence: lifecycle.succeed(session, fence, result(), {}),
    "fail": lambda session, fence: lifecycle.fail(session, fence, f"{fence.shard_id} did not"),
    "cancel": lifecycle.cancel,
}


def end(database: Database, shard: Shard, how: str) -> None:
    fence = claim(database, shard).fence
    with database.writing() as session:
        assert ENDS[how](session, fence)


def claim_in_turn(database: Database, count: int) -> list[Shard]:
    """Claims of so many workers that are free one after the other."""
    taken = []
    for _ in range(count):
        with database.writing() as session:
            [shard_id] = attempts.due(session, limit=1)
            assert lifecycle.claim(session, shard_id, owner="wrk_a", boot_id=BOOT) is not None
            taken.append(session.get_one(Shard, shard_id))
    return taken


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        (["succeed", "fail", "fail"], State.SUCCEEDED),
        (["fail", "succeed", "cancel"], State.SUCCEEDED),
        (["cancel", "fail", "fail"], State.FAILED),
        (["fail", "fail", "fail"], State.FAILED),
        (["cancel", "cancel", "cancel"], State.CANCELLED),
    ],
)
def test_a_job_ends_with_its_last_shard(database: Database, ends: list[str], status: State) -> None:
    shards = submit_shards(database, len(ends))
    for shard, how in zip(shards, ends, strict=True):
        assert stored(database, shard)[1].status is State.QUEUED
        end(database, shard, how)
    _, job = stored(database, shards[0])
    assert (job.status, job.result) == (status, None)
    assert job.finished_at is not None
    if status is State.FAILED:
        assert job.error is not None
        assert job.error["detail"] == f"{shards[ends.index('fail')].id} did not"


def test_a_job_that_is_cancelled_stays_so_though_a_shard_succeeded(database: Database) -> None:
    first, second, third = submit_shards(database, 3)
    end(database, first, "succeed")
    fence = claim(database, second).fence
    request_cancel(database, first)
    assert stored(database, third)[0].state is State.CANCELLED
    assert stored(database, third)[1].status is State.RUNNING
    with database.writing() as session:
        assert lifecycle.release(session, fence)
    assert stored(database, second)[0].state is State.CANCELLED
    assert stored(database, first)[0].state is State.SUCCEEDED
    assert stored(database, first)[1].status is State.CANCELLED


def test_keep_best_reaches_every_shard(database: Database) -> None:
    learnt, waiting, running = submit_shards(database, 3)
    fence = claim(database, learnt).fence
    with database.writing() as session:
        attempts.record_progress(session, fence, {"fraction": 0.1, "epoch": 0})
        lifecycle.release(session, fence)
    fence = claim(database, running).fence
    request_cancel(database, learnt, keep_best=True)
    assert stored(database, learnt)[0].state is State.QUEUED
    assert stored(database, waiting)[0].state is State.CANCELLED
    with database.reading() as session:
        assert attempts.standing(session, fence) == "keep_best"
    with database.writing() as session:
        assert lifecycle.succeed(session, fence, result(), {}) is not None
    end(database, learnt, "succeed")
    assert stored(database, learnt)[1].status is State.SUCCEEDED


def test_one_tenants_shards_do_not_hold_back_anothers(database: Database) -> None:
    dataset_id = add_dataset(database)
    submit_shards(database, 500, dataset_id, "many")
    others = [submit_one(database, dataset_id, tenant) for tenant in ("a", "b")]
    with database.reading() as session:
        due = attempts.due(session, limit=4)
    assert {shard.id for shard in others} < set(due[:3])
    taken = claim_in_turn(database, 6)
    assert [shard.tenant for shard in taken] == ["many", "a", "b", "many", "many", "many"]
    late = submit_one(database, dataset_id, "late")
    assert claim_in_turn(database, 1)[0].id == late.id


def test_priority_counts_within_a_tenant(database: Database) -> None:
    dataset_id = add_dataset(database)
    first = submit_one(database, dataset_id, "a")
    low = submit_one(database, dataset_id, "a", priority=-1)
    urgent = submit_shards(database, 2, dataset_id, "a", priority=5)
    others = [submit_one(database, dataset_id, "b") for _ in range(2)]
    taken = [shard.id for shard in claim_in_turn(database, 6)]
    assert taken[0] == urgent[0].id
    assert taken[1] == others[0].id
    assert [one for one in taken if one not in {shard.id for shard in others}] == [
        *(shard.id for shard in urgent),
        first.id,
        low.id,
    ]


def test_jobs_of_a_tenant_take_turns(database: Database) -> None:
    dataset_id = add_dataset(database)
    long = submit_shards(database, 64, dataset_id)
    assert [shard.id for shard in claim_in_turn(database, 3)] == [shard.id for shard in long[:3]]
    later = submit_shards(database, 2, dataset_id)
    taken = [shard.id for shard in claim_in_turn(database, 5)]
    assert taken == [later[0].id, long[3].id, later[1].id, long[4].id, long[5].id]


def test_new_jobs_do_not_hold_back_one_that_was_interrupted(database: Database) -> None:
    dataset_id = add_dataset(database)
    interrupted = submit_one(database, dataset_id)
    fence = claim(database, interrupted).fence
    with database.writing() as session:
        assert lifecycle.release(session, fence)
    later = [submit_one(database, dataset_id) for _ in range(3)]
    assert claim_in_turn(database, 1)[0].id == later[0].id
    with database.writing() as session:
        long_ago = database_now(-attempts.TURN - 1)
        session.execute(update(Shard).where(Shard.id == interrupted.id).values(claimed_at=long_ago))
    assert claim_in_turn(database, 1)[0].id == interrupted.id


def test_a_tenant_has_one_turn_however_many_jobs_it_has(database: Database) -> None:
    dataset_id = add_dataset(database)
    for _ in range(4):
        submit_shards(database, 2, dataset_id, "many")
    one = submit_shards(database, 3, dataset_id, "one")
    taken = claim_in_turn(database, 6)
    assert [shard.tenant for shard in taken] == ["many", "one"] * 3
    assert [shard.id for shard in taken[1::2]] == [shard.id for shard in one]
    assert len({shard.job_id for shard in taken[::2]}) == 3


def enqueue(client: TestClient, count: int) -> list[Shard]:
    """A job as its API would submit it, of so many shards."""
    job = submit(client)
    with resources_of(client).database.writing() as session:
        job_id = lifecycle.enqueue(
            session,
            tenant=LOCAL_TENANT,
            name="several",
            dataset_id=job["dataset_id"],
            spec=job["spec"],
            target=job["target"],
            shards=[job["spec"] | {"seed": seed} for seed in range(count)],
        )
        return list(shards_of(session, job_id))


def progress(epoch: int, eta: float | None) -> dict[str, Any]:
    return {
        "fraction": epoch / 10,
        "epoch": epoch,
        "max_epochs": 10,
        "folds_total": 5,
        "folds_active": 4,
        "eta_s": eta,
    }


def record(database: Database, fence: Fence, epoch: int, loss: float) -> None:
    with database.writing() as session:
        rows = [FoldEpoch(0, epoch, loss, loss, 0.1)]
        assert attempts.record_progress(session, fence, progress(epoch, 2.0 * epoch), rows)


def test_a_list_shows_a_job_once(client: TestClient) -> None:
    upload(client)
    database = resources_of(client).database
    first, second, third = enqueue(client, 3)
    fences = [claim(database, shard).fence for shard in (second, third)]
    for epoch, fence in enumerate(fences, start=1):
        record(database, fence, epoch, loss=float(epoch))
    listed = client.get("/v1/jobs").json()["data"]
    assert len(listed) == 2
    assert listed[0]["id"] == first.job_id
    assert listed[0]["progress"] == {
        "fraction": pytest.approx(0.1),
        "epoch": 0,
        "max_epochs": 60,
        "folds_total": 15,
        "folds_active": 8,
        "eta_s": None,  # one has not begun
    }
    with database.writing() as session:
        for fence in fences:
            assert lifecycle.succeed(session, fence, result(), {}) is not None
    record(database, claim(database, first).fence, 3, loss=3.0)
    shown = client.get(f"/v1/jobs/{first.job_id}").json()
    assert (shown["status"], shown["attempt"], shown["result"]) == ("running", 1, None)
    assert (shown["progress"]["fraction"], shown["progress"]["eta_s"]) == (
        pytest.approx((0.3 + 1 + 1) / 3),
        6.0,
    )
    epochs = client.get(f"/v1/jobs/{first.job_id}/metrics").json()["data"]
    assert [row["train_loss"] for row in epochs] == [3.0, 1.0, 2.0]


def test_a_deleted_job_takes_the_files_of_all_its_shards(
    client: TestClient, tmp_path: Path
) -> None:
    upload(client)
    resources = resources_of(client)
    shards = enqueue(client, 2)
    models = []
    for shard in shards:
        fence = claim(resources.database, shard).fence
        files = {
            path.name: resources.blobs.put_artifact(shard.id, path)
            for path in write_artifacts(tmp_path / shard.id)
        }
        with resources.database.writing() as session:
            models.append(lifecycle.succeed(session, fence, result(), files))
    assert client.get(f"/v1/jobs/{shards[0].job_id}").json()["status"] == "succeeded"
    refused = client.get(f"/v1/jobs/{shards[0].job_id}/oof")
    assert "each with a model of its own" in refused.json()["detail"]

    assert client.delete(f"/v1/models/{models[1]}").status_code == 204
    assert resources.blobs.names(ARTIFACTS) == [shards[0].id]
    rows = [{"Area": 100, "Quality": 5, "Zone": "north"}]
    priced = client.post(f"/v1/models/{models[0]}/predict", json={"rows": rows})
    assert priced.status_code == 200
    client.delete("/v1/aliases/champion")
    assert client.delete(f"/v1/jobs/{shards[0].job_id}").status_code == 204
    assert not resources.blobs.exists(artifacts_key(shards[0].id))
    with resources.database.reading() as session:
        assert session.get(Job, shards[0].job_id) is None
