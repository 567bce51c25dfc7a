"""Submitting, reading, listing, cancelling and retrying jobs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import finish, houses_csv, resources_of, serving, submit, train, upload
from sqlalchemy import QueuePool

from app.jobs import attempts, lifecycle, repository, service
from app.queue.dispatch import Hints
from app.settings import Settings
from app.storage.tables import LOCAL_TENANT
from models.data.design import complete_spec
from models.spec import TrainingSpec

SPEC = {
    "dataset_id": "latest",
    "target": "Price",
    "architecture": {"type": "mlp", "hidden_sizes": [256, 64]},
}


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Shards of which workers were told."""
    sent: list[str] = []
    monkeypatch.setattr(Hints, "send", lambda _, shard_id: sent.append(shard_id))
    return sent


def test_a_submitted_job_is_queued_with_every_default(client: TestClient, hints: list[str]) -> None:
    dataset = upload(client)

    response = client.post("/v1/jobs", json={**SPEC, "wd": 0.01, "k": 4, "optimizer": {"lr": 0.1}})

    assert response.status_code == 202
    job = response.json()
    assert response.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert response.headers["Retry-After"] == "1"
    assert job["dataset_id"] == dataset["id"]
    assert job["spec"]["weight_decay"] == 0.01
    assert job["spec"]["k_folds"] == 4
    assert job["spec"]["optimizer"]["learning_rate"] == 0.1
    assert job["spec"]["preprocessing"]["target_transform"] == "none"
    assert job["spec"]["features"]["exclude"] == ["Id"]
    expected = {
        "status": "queued",
        "target": "Price",
        "name": None,
        "attempt": 0,
        "max_attempts": 3,
        "cancel_requested": False,
        "started_at": None,
        "finished_at": None,
        "error": None,
        "result": None,
    }
    assert expected.items() <= job.items()
    assert job["progress"] == {
        "fraction": 0.0,
        "epoch": 0,
        "max_epochs": 100,
        "folds_total": 4,
        "folds_active": 0,
        "eta_s": None,
    }
    assert client.get(response.headers["Location"]).json() == job
    assert len(hints) == 1


def test_the_hint_is_sent_after_the_commit(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(client)
    visible: list[str] = []

    def send(_: Hints, shard_id: str) -> None:
        with resources_of(client).database.reading() as session:
            row = repository.get(session, "local", "latest")
            visible.append(row.shards[0].id)
            assert row.shards[0].id == shard_id

    monkeypatch.setattr(Hints, "send", send)
    submit(client)

    assert len(visible) == 1


def test_validate_creates_nothing(client: TestClient) -> None:
    upload(client)

    response = client.post("/v1/jobs:validate", json=SPEC)

    assert response.status_code == 200
    answer = response.json()
    assert answer["valid"] is True
    assert answer["features"] == [
        {"name": "Area", "kind": "numeric"},
        {"name": "Quality", "kind": "numeric"},
        {"name": "Zone", "kind": "categorical"},
    ]
    assert answer["parameters"] == 4 * 256 + 256 + 256 * 64 + 64 + 64 + 1
    assert answer["estimate"]["memory_bytes"] > 0
    assert answer["resolved_spec"] == client.post("/v1/jobs", json=SPEC).json()["spec"]
    held_out = client.post("/v1/jobs:validate", json={**SPEC, "holdout": {"fraction": 0.1}}).json()
    transform = held_out["resolved_spec"]["preprocessing"]["target_transform"]
    assert transform in ("log", "none")  # known before the job runs
    assert "capacity_exceeds_data" in {warning["code"] for warning in answer["warnings"]}
    assert len(client.get("/v1/jobs").json()["data"]) == 1


@pytest.mark.usefixtures("no_renewals")
def test_a_table_is_read_outside_of_a_transaction(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite who reads files in one can hold writers up."""
    upload(client)
    pool = resources_of(client).database.engine.pool
    assert isinstance(pool, QueuePool)
    in_use = []

    def noting(parquet: Path, spec: TrainingSpec) -> TrainingSpec:
        in_use.append(pool.checkedout())
        return complete_spec(parquet, spec)

    monkeypatch.setattr(service, "complete_spec", noting)
    held_out = SPEC | {"holdout": {"fraction": 0.1}}
    assert client.post("/v1/jobs:validate", json=held_out).status_code == 200
    assert client.post("/v1/jobs", json=held_out).status_code == 202
    assert in_use == [0, 0]


def test_workers_are_told_of_a_job_that_waits_alone(client: TestClient, hints: list[str]) -> None:
    """Of those that queue up behind it they learn by looking."""
    upload(client)
    for _ in range(3):
        submit(client)
    assert len(hints) == 1


def test_an_idempotency_key_makes_one_job(client: TestClient, hints: list[str]) -> None:
    upload(client)
    key = {"Idempotency-Key": "once"}

    first = client.post("/v1/jobs", json={**SPEC, "name": "a"}, headers=key)
    again = client.post("/v1/jobs", json={"name": "a", **SPEC}, headers=key)
    other = client.post("/v1/jobs", json={**SPEC, "name": "b"}, headers=key)

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert other.status_code == 422
    assert other.json()["type"].endswith("/idempotency-mismatch")
    assert len(client.get("/v1/jobs").json()["data"]) == 1
    assert len(set(hints)) == 1


def test_one_key_at_a_time_from_several_requests(both_clients: TestClient) -> None:
    upload(both_clients)

    def send(_: int) -> Any:
        return both_clients.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": "once"})

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(send, range(8)))

    assert [response.status_code for response in responses] == [202] * 8
    assert len({response.json()["id"] for response in responses}) == 1
    assert len(both_clients.get("/v1/jobs").json()["data"]) == 1


def test_a_refused_spec_leaves_its_key_free(client: TestClient) -> None:
    upload(client)
    key = {"Idempotency-Key": "once"}

    refused = client.post("/v1/jobs", json={**SPEC, "target": "Prize"}, headers=key)
    accepted = client.post("/v1/jobs", json=SPEC, headers=key)

    assert (refused.status_code, accepted.status_code) == (422, 202)


def test_a_full_queue_is_told(tmp_path: Path, sqlite_url: str) -> None:
    settings = Settings(data_dir=tmp_path / "data", database_url=sqlite_url, max_queued_jobs=1)
    with serving(settings) as client:
        upload(client)
        key = {"Idempotency-Key": "first"}
        first = client.post("/v1/jobs", json=SPEC, headers=key)

        refused = client.post("/v1/jobs", json=SPEC)
        repeated = client.post("/v1/jobs", json=SPEC, headers=key)
        client.post(f"/v1/jobs/{first.json()['id']}/cancel")
        accepted = client.post("/v1/jobs", json=SPEC)

    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "30"
    assert "its quota `queued_jobs` is 1" in refused.json()["detail"]
    assert (repeated.status_code, accepted.status_code) == (202, 202)


def test_a_job_above_the_memory_limit_is_refused(tmp_path: Path, sqlite_url: str) -> None:
    settings = Settings(
        data_dir=tmp_path / "data", database_url=sqlite_url, max_job_memory_bytes=700_000_000
    )
    with serving(settings) as client:
        upload(client)
        small = client.post("/v1/jobs:validate", json=SPEC)
        large = client.post(
            "/v1/jobs:validate",
            json={**SPEC, "architecture": {"type": "mlp", "hidden_sizes": [4096] * 2}},
        )

    assert small.status_code == 200
    assert large.status_code == 422
    assert large.json()["type"].endswith("/invalid-spec")
    assert "max_job_memory_bytes, 700,000,000" in large.json()["detail"]


def test_a_model_that_no_file_holds_is_refused(tmp_path: Path, sqlite_url: str) -> None:
    settings = Settings(
        data_dir=tmp_path / "data", database_url=sqlite_url, max_job_memory_bytes=2**40
    )
    wide = {"type": "mlp", "hidden_sizes": [16_384] * 2}
    with serving(settings) as client:
        upload(client)
        refused = client.post("/v1/jobs:validate", json={**SPEC, "architecture": wide})

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/architecture"
    assert "an ONNX file holds at most 2,147,483,647" in refused.json()["detail"]


def test_a_queued_job_is_cancelled_at_once(client: TestClient) -> None:
    upload(client)
    job = submit(client)

    response = client.post(f"/v1/jobs/{job['id']}/cancel", json={"keep_best": False})

    assert response.status_code == 202
    assert response.json()["status"] == "cancelled"
    assert response.json()["finished_at"] is not None
    again = client.post(f"/v1/jobs/{job['id']}/cancel")
    assert again.status_code == 409


def test_keep_best_of_a_running_job(client: TestClient) -> None:
    """Also of one that waits again and has learnt something: it is not cancelled."""
    upload(client)
    job_id = submit(client)["id"]
    database = resources_of(client).database
    with database.writing() as session:
        [shard] = repository.get(session, LOCAL_TENANT, job_id).shards
        claim = lifecycle.claim(session, shard.id, owner="wrk_a", boot_id="boot")
        assert claim is not None

    response = client.post(f"/v1/jobs/{job_id}/cancel", json={"keep_best": True})

    assert response.status_code == 202
    assert response.json()["status"] == "running"
    assert response.json()["cancel_requested"] is True
    with database.reading() as session:
        assert attempts.standing(session, claim.fence) == "keep_best"


def test_priority_and_time_limit_are_kept_by_a_retry(client: TestClient) -> None:
    upload(client)
    job = submit(client, priority=3, timeout_s=60)
    client.post(f"/v1/jobs/{job['id']}/cancel")
    retried = client.post(f"/v1/jobs/{job['id']}/retry").json()
    assert [(own["priority"], own["timeout_s"]) for own in (job, retried)] == [(3, 60.0)] * 2
    assert not {"priority", "timeout_s"} & job["spec"].keys()


@pytest.mark.parametrize(("field", "value"), [("priority", 101), ("timeout_s", 0)])
def test_impossible_priorities_and_time_limits(client: TestClient, field: str, value: int) -> None:
    upload(client)
    refused = client.post("/v1/jobs", json={**SPEC, field: value})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == f"/{field}"


def test_a_retry_is_a_new_job_with_the_same_spec(client: TestClient, hints: list[str]) -> None:
    upload(client)
    job = submit(client, name="baseline", dropout=0.2)
    client.post(f"/v1/jobs/{job['id']}/cancel")
    key = {"Idempotency-Key": "retry"}

    response = client.post(f"/v1/jobs/{job['id']}/retry", headers=key)
    again = client.post(f"/v1/jobs/{job['id']}/retry", headers=key)

    assert response.status_code == 202
    retried = response.json()
    assert retried["id"] != job["id"]
    assert retried["status"] == "queued"
    assert (retried["spec"], retried["name"]) == (job["spec"], "baseline")
    assert again.json() == retried
    assert len(set(hints)) == 2


def test_a_retry_is_checked_as_a_submit_is(client: TestClient, settings: Settings) -> None:
    upload(client)
    large = submit(client, architecture={"type": "mlp", "hidden_sizes": [4096] * 2})
    stale = submit(client)
    with resources_of(client).database.writing() as session:
        row = repository.get(session, LOCAL_TENANT, stale["id"]).job
        row.spec = row.spec | {"k_folds": 1}

    lower = settings.model_copy(update={"max_job_memory_bytes": 700_000_000})
    with serving(lower) as client:
        too_large = client.post(f"/v1/jobs/{large['id']}/retry")
        of_old = client.post(f"/v1/jobs/{stale['id']}/retry")

    assert (too_large.status_code, of_old.status_code) == (422, 422)
    assert "max_job_memory_bytes, 700,000,000" in too_large.json()["detail"]
    assert of_old.json()["type"].endswith("/invalid-spec")
    assert [fault["pointer"] for fault in of_old.json()["errors"]] == ["/k_folds"]


def test_what_is_looked_for_stands_before_the_spec(client: TestClient) -> None:
    upload(client)
    names = list(submit(client))
    assert names[:6] == ["id", "name", "status", "progress", "error", "result"]
    assert names[-1] == "spec"


def test_jobs_are_listed_newest_first_and_by_state(client: TestClient) -> None:
    first_dataset = upload(client)
    first, second = submit(client), submit(client)
    second_dataset = upload(client, houses_csv(rows=30))
    third = submit(client)
    client.post(f"/v1/jobs/{second['id']}/cancel")

    def listed(**params: Any) -> list[str]:
        response = client.get("/v1/jobs", params=params)
        assert response.status_code == 200
        return [job["id"] for job in response.json()["data"]]

    assert listed() == [third["id"], second["id"], first["id"]]
    assert listed(status="queued") == [third["id"], first["id"]]
    assert listed(status="cancelled") == [second["id"]]
    assert listed(dataset_id=first_dataset["id"]) == [second["id"], first["id"]]
    assert listed(dataset_id="latest") == listed(dataset_id=second_dataset["id"]) == [third["id"]]
    assert listed(limit=1, after=third["id"]) == [second["id"]]


def test_a_succeeded_job_has_its_result(client: TestClient, tmp_path: Path) -> None:
    model_id = train(client, tmp_path / "model")

    job = client.get("/v1/jobs/latest").json()

    assert job["status"] == "succeeded"
    assert job["progress"]["fraction"] == 1.0
    assert job["result"]["model_id"] == model_id
    assert job["result"]["folds"][1]["stopped_by"] == "max_epochs"
    assert job["result"]["metrics"] == {"rmse": 1.5, "r2": None}
    assert client.post("/v1/jobs/latest/cancel").status_code == 409


def test_a_broker_that_is_away_slows_nobody(tmp_path: Path, sqlite_url: str) -> None:
    settings = Settings(
        data_dir=tmp_path / "data", database_url=sqlite_url, broker_url="redis://127.0.0.1:1/0"
    )
    with serving(settings) as client:
        upload(client)
        job = submit(client)

        assert client.get(f"/v1/jobs/{job['id']}").json()["status"] == "queued"
        finish(resources_of(client), job["id"], tmp_path / "model")
