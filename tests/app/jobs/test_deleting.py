"""A finished job goes with all that it left, and only then may its dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import finish, resources_of, submit, train, upload
from sqlalchemy import func, select

from app.jobs import attempts, lifecycle, repository
from app.monitoring.usage import Usage
from app.storage import removals
from app.storage.blobs import ARTIFACTS, DATASETS, Blobs
from app.storage.sweep import sweep
from app.storage.tables import (
    LOCAL_TENANT,
    Base,
    EpochMetric,
    Event,
    Job,
    Model,
    ModelUsage,
    Removal,
    Shard,
)
from models.epochs import FoldEpoch

OF_A_JOB = (Job, Shard, Event, EpochMetric, Model, ModelUsage, Removal)


def rows(client: TestClient, *tables: type[Base]) -> list[int]:
    with resources_of(client).database.reading() as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def test_a_job_and_its_dataset(both_clients: TestClient, tmp_path: Path) -> None:
    client = both_clients
    resources = resources_of(client)
    dataset = upload(client)
    job = submit(client)
    with resources.database.writing() as session:
        [shard] = repository.get(session, LOCAL_TENANT, job["id"]).shards
        claim = lifecycle.claim(session, shard.id, owner="wrk_1", boot_id="boot")
        assert claim is not None
        attempts.record_progress(session, claim.fence, {"epoch": 1}, [FoldEpoch(0, 1, 1, 1, 1)])
        lifecycle.release(session, claim.fence)
    model_id = finish(resources, job["id"], tmp_path)
    row = {"Area": 100, "Quality": 5, "Zone": "north"}
    assert client.post("/v1/predict", json={"rows": [row]}).status_code == 200
    resources[Usage].write()
    assert 0 not in rows(client, *OF_A_JOB[:-1])
    champion = client.delete(f"/v1/jobs/{job['id']}")
    used = client.delete(f"/v1/datasets/{dataset['id']}")
    client.delete("/v1/aliases/champion")

    assert (champion.status_code, used.status_code) == (409, 409)
    assert f"{model_id} has the alias champion" in champion.json()["detail"]
    assert job["id"] in used.json()["detail"]
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert rows(client, *OF_A_JOB) == [0] * len(OF_A_JOB)
    assert resources.blobs.names(ARTIFACTS) == []
    for path in (f"/v1/jobs/{job['id']}", f"/v1/models/{model_id}"):
        assert client.get(path).status_code == 404
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 404
    assert client.delete(f"/v1/datasets/{dataset['id']}").status_code == 204
    assert resources.blobs.names(DATASETS) == []
    assert client.get("/v1/aliases/champion/history").status_code == 200


def test_a_job_that_has_not_finished(client: TestClient) -> None:
    upload(client)
    job = submit(client)
    queued = client.delete(f"/v1/jobs/{job['id']}")
    with resources_of(client).database.writing() as session:
        [shard] = repository.get(session, LOCAL_TENANT, job["id"]).shards
        lifecycle.claim(session, shard.id, owner="wrk_1", boot_id="boot")
    running = client.delete(f"/v1/jobs/{job['id']}")

    assert (queued.status_code, running.status_code) == (409, 409)
    assert "is queued. Cancel it" in queued.json()["detail"]
    assert "is running. Cancel it" in running.json()["detail"]


def test_a_request_that_is_repeated_after_the_deletion(client: TestClient) -> None:
    upload(client)
    kept = submit(client)
    requests: dict[str, Any] = {
        "/v1/jobs": {"dataset_id": "latest", "target": "Price"},
        f"/v1/jobs/{kept['id']}/retry": None,
    }
    for place, (path, spec) in enumerate(requests.items()):
        key = {"Idempotency-Key": f"key {place}"}
        made = client.post(path, json=spec, headers=key).json()["id"]
        client.post(f"/v1/jobs/{made}/cancel")
        assert client.delete(f"/v1/jobs/{made}").status_code == 204
        repeated = client.post(path, json=spec, headers=key)
        assert repeated.status_code == 404
        assert f"'key {place}' created it, and it has been deleted" in repeated.json()["detail"]


def test_what_a_crash_leaves_is_swept(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends between the commit and the removal of files."""
    train(client, tmp_path)
    resources = resources_of(client)
    [job] = client.get("/v1/jobs").json()["data"]
    client.delete("/v1/aliases/champion")
    with monkeypatch.context() as crash:
        crash.setattr(removals, "carry_out", lambda *_: None)
        assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert resources.blobs.names(ARTIFACTS)

    sweep(resources.database, resources.blobs)
    assert resources.blobs.names(ARTIFACTS) == []
    assert rows(client, Removal) == [0]


def test_files_stay_written_down_while_the_storage_is_away(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = upload(client)
    resources = resources_of(client)
    with monkeypatch.context() as away:
        away.setattr(Blobs, "delete", _refuse)
        assert client.delete(f"/v1/datasets/{dataset['id']}").status_code == 204
    assert "could not be removed, will try again: [Errno 5] the storage is away" in caplog.text
    assert rows(client, Removal) == [1]
    removals.carry_out(resources.database, resources.blobs)
    assert resources.blobs.names(DATASETS) == []
    assert rows(client, Removal) == [0]


def _refuse(_blobs: Blobs, _key: str) -> None:
    raise OSError(5, "the storage is away")
