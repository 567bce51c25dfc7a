"""A job of several shards: each of them ends once, whichever worker is killed meanwhile."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence

import pytest
from jobs_in_database import events_of, shards_of
from polling import wait_until
from sqlalchemy import select
from stack import JOB_SECONDS, LONG, Stack

from app.jobs import lifecycle
from app.storage.blobs import Blobs, artifacts_key
from app.storage.tables import FINISHED, LOCAL_TENANT, Model, Shard

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(500)]

SHARDS, KILLS = 3, 2
EPOCHS = 150
SPEC = LONG | {"max_epochs": EPOCHS}


def enqueue(stack: Stack) -> str:
    """A job whose shards differ in their seeds; gives its id."""
    body = {"dataset_id": "latest", "target": "price", **SPEC}
    answer = stack.http.post("/v1/jobs:validate", json=body).raise_for_status()
    spec = answer.json()["resolved_spec"]
    with stack.database.writing() as session:
        return lifecycle.enqueue(
            session,
            tenant=LOCAL_TENANT,
            name=None,
            dataset_id=stack.http.get("/v1/datasets").json()["data"][0]["id"],
            spec=spec,
            target="price",
            shards=[spec | {"seed": seed} for seed in range(SHARDS)],
        )


def shards(stack: Stack, job_id: str) -> Sequence[Shard]:
    with stack.database.reading() as session:
        return shards_of(session, job_id)


@pytest.mark.parametrize("settings", ["postgresql and redis"], indirect=True)
def test_workers_killed_at_random(stack: Stack) -> None:
    chance = random.Random(0)
    job_id = enqueue(stack)
    for _ in range(KILLS):
        attempts = sum(shard.attempt for shard in shards(stack, job_id))
        with stack.worker(slots=2):
            wait_until(
                lambda: sum(shard.attempt for shard in shards(stack, job_id)) > attempts,  # noqa: B023
                JOB_SECONDS,
            )
            time.sleep(chance.uniform(0, 3))  # s
    with stack.worker(slots=2):
        done = stack.wait(job_id, "succeeded", "failed", "cancelled", seconds=2 * JOB_SECONDS)
        wait_until(lambda: not stack.checkpoints())
    assert done["status"] == "succeeded", done["error"]

    rows = shards(stack, job_id)
    assert max(shard.attempt for shard in rows) > 1
    with stack.database.reading() as session:
        models = session.scalars(select(Model).where(Model.job_id == job_id)).all()
    events = events_of(stack.database, job_id)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    ends = [e.data for e in events if e.kind == "state" and e.data["state"] in FINISHED]
    assert Counter((end["shard"], end["state"]) for end in ends) == dict.fromkeys(
        [(place, "succeeded") for place in range(SHARDS)], 1
    )
    assert [end["status"] for end in ends].count("succeeded") == 1
    assert sorted(str(model.shard_id) for model in models) == sorted(shard.id for shard in rows)
    blobs = Blobs(stack.settings.resolved_storage_url)
    for model in models:
        assert set(blobs.names(artifacts_key(model.folder))) == set(model.artifacts.values())
        assert stack.http.get(f"/v1/models/{model.id}/export").status_code == 200
    assert len({stack.price(model.id) for model in models}) == SHARDS
    epochs = stack.http.get(f"/v1/jobs/{job_id}/metrics").json()["data"]
    assert [(row["fold"], row["epoch"]) for row in epochs] == [
        (fold, epoch)
        for _ in range(SHARDS)
        for fold in range(SPEC["k_folds"])
        for epoch in range(1, EPOCHS + 1)
    ]
