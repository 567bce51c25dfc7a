"""/healthz, /readyz and /metrics"""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from fsspec.implementations.local import LocalFileSystem
from house_api import become, resources_of, serving, submit, train, upload
from scraping import samples
from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from app.operations.metrics import Metrics
from app.settings import Settings
from app.storage.database import database_now
from app.storage.tables import Shard, WebhookDelivery, Worker


def add_worker(client: TestClient, seen: timedelta = timedelta()) -> None:
    with resources_of(client).database.writing() as session:
        session.add(
            Worker(
                id="wrk_1",
                hostname="here",
                boot_id="boot",
                pid=1,
                device="cpu",
                slots=1,
                version="0",
                seen_at=datetime.now(UTC) - seen,
            )
        )


def test_ready_with_a_worker(client: TestClient) -> None:
    add_worker(client)

    assert client.get("/readyz").json() == {
        "status": "ready",
        "database": "ok",
        "storage": "ok",
        "broker": "ok",
        "workers": 1,
        "down": {},
    }
    assert client.get("/readyz?strict=true").status_code == 200


def test_degraded_without_a_worker_of_late(both_clients: TestClient) -> None:
    add_worker(both_clients, seen=timedelta(minutes=5))

    response = both_clients.get("/readyz")

    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert response.json()["workers"] == 0
    assert response.json()["down"] == {"workers": "none was seen within 30 seconds"}
    strict = both_clients.get("/readyz?strict=true")
    assert strict.status_code == 503
    assert [fault["pointer"] for fault in strict.json()["errors"]] == ["/workers"]


@pytest.mark.parametrize("broker_url", ["redis://127.0.0.1:1/0", ""])
def test_degraded_without_a_broker(tmp_path: Path, sqlite_url: str, broker_url: str) -> None:
    settings = Settings(data_dir=tmp_path / "data", database_url=sqlite_url, broker_url=broker_url)
    settings.root.mkdir()
    (settings.root / "broker").write_text("not a folder")
    with serving(settings) as client:
        add_worker(client)
        response = client.get("/readyz")
        strict = client.get("/readyz?strict=true")

    assert response.status_code == 200
    assert (response.json()["status"], response.json()["broker"]) == ("degraded", "down")
    assert list(response.json()["down"]) == ["broker"]
    assert strict.status_code == 503
    assert "broker" in strict.json()["detail"]


@pytest.mark.parametrize("part", ["database", "storage"])
def test_unready_without_database_or_storage(tmp_path: Path, sqlite_url: str, part: str) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("not a folder")
    if part == "database":
        settings = Settings(data_dir=tmp_path, database_url=f"sqlite:///{nowhere}/x.sqlite")
    else:
        settings = Settings(
            data_dir=tmp_path, database_url=sqlite_url, storage_url=str(nowhere / "storage")
        )
    with serving(settings) as client:
        response = client.get("/readyz")
        metrics = client.get("/metrics")
        health = client.get("/healthz")

    assert response.status_code == 503
    assert part in response.json()["detail"]
    assert metrics.status_code == health.status_code == 200
    assert health.json() == {"status": "ok"}


def test_unready_when_the_storages_disk_is_full(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert client.get("/readyz").status_code == 200
    monkeypatch.setattr(LocalFileSystem, "pipe_file", full)
    assert client.get("/readyz").status_code == 503


def test_metrics_count_jobs_and_requests_by_route(client: TestClient) -> None:
    upload(client)
    submit(client)
    for path in ("/v1/jobs/latest", "/v1/jobs/job_none", "/nobody/home"):
        client.get(path)

    text = client.get("/metrics").text

    jobs = samples(text, "foldhouse_jobs")
    assert (jobs["queued",], jobs["failed",]) == (1, 0)
    requests = samples(text, "foldhouse_http_requests_total")
    assert requests["GET", "/v1/jobs/{job_id}", "200"] == 1
    assert requests["GET", "/v1/jobs/{job_id}", "404"] == 1
    assert requests["GET", "unknown", "404"] == 1
    seconds = samples(text, "foldhouse_http_request_duration_seconds_count")
    assert seconds["GET", "/v1/jobs/{job_id}"] == 2
    assert samples(text, "process_resident_memory_bytes").keys() == {(str(os.getpid()),)}


def test_metrics_of_the_queue_and_of_workers(client: TestClient) -> None:
    idle = client.get("/metrics").text
    assert samples(idle, "foldhouse_shards") == {("queued",): 0, ("running",): 0}
    assert samples(idle, "foldhouse_oldest_waiting_seconds") == {(): 0}
    assert samples(idle, "foldhouse_workers") == samples(idle, "foldhouse_slots") == {(): 0}

    upload(client)
    job = submit(client)
    submit(client)
    add_worker(client)
    with resources_of(client).database.writing() as session:
        add_message(session)
        of_job = update(Shard).where(Shard.job_id == job["id"])
        session.execute(of_job.values(due_at=database_now(-90)))

    busy = client.get("/metrics").text
    assert samples(busy, "foldhouse_shards") == {
        ("queued",): 0,
        ("running",): 0,
        ("queued", "local"): 2,
    }
    oldest = samples(busy, "foldhouse_oldest_waiting_seconds")
    assert oldest["local",] == pytest.approx(90, abs=60)
    assert samples(busy, "foldhouse_workers") == samples(busy, "foldhouse_slots") == {(): 1}
    assert samples(busy, "foldhouse_webhook_messages") == {(): 1}


def add_message(session: Session) -> None:
    """For a webhook that does not take it."""
    message = {"id": "msg_1", "tenant": "local", "webhook_id": "whk_1", "payload": {}}
    session.execute(insert(WebhookDelivery), message)


def test_metrics_count_predictions_with_their_warnings(client: TestClient, tmp_path: Path) -> None:
    model_id = train(client, tmp_path / "model")
    house = {"Area": 100, "Quality": 5, "Zone": "north"}
    rows = [house, {**house, "Zone": "nowhere"}, {**house, "Zone": "nowhere"}]
    for _ in range(2):
        assert client.post("/v1/predict", json={"rows": rows}).status_code == 200

    text = client.get("/metrics").text
    assert samples(text, "foldhouse_predicted_rows_total") == {(model_id,): 6}
    assert samples(text, "foldhouse_prediction_warnings_total") == {
        ("unknown_category", model_id): 4
    }
    assert samples(text, "foldhouse_model_load_seconds_count") == {(): 1}


def test_only_an_operator_sees_tenants_and_models(client: TestClient, tmp_path: Path) -> None:
    model_id = train(client, tmp_path / "model")
    rows = [{"Area": 100, "Quality": 5, "Zone": "north"}]
    assert client.post("/v1/predict", json={"rows": rows}).status_code == 200
    submit(client)
    become(client, "lab")
    upload(client)
    submit(client)

    without_key = TestClient(client.app, base_url="http://localhost").get("/metrics")
    for answer in (client.get("/metrics"), without_key):  # an admin of a tenant, and anyone
        assert answer.status_code == 200
        assert samples(answer.text, "foldhouse_shards") == {("queued",): 2, ("running",): 0}
        assert samples(answer.text, "foldhouse_oldest_waiting_seconds").keys() == {()}
        assert samples(answer.text, "foldhouse_predicted_rows_total") == {(): 1}
        assert "lab" not in answer.text
        assert model_id not in answer.text

    become(client, "local")
    text = client.get("/metrics").text
    assert samples(text, "foldhouse_shards") == {
        ("queued",): 0,
        ("running",): 0,
        ("queued", "lab"): 1,
        ("queued", "local"): 1,
    }
    assert samples(text, "foldhouse_predicted_rows_total") == {(model_id,): 1}

    client.headers["Authorization"] = "Bearer mistyped"
    assert client.get("/metrics").status_code == 401


def test_metrics_name_no_more_than_so_many_tenants_and_models(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.operations.collectors.MOST_TENANTS", 1)
    monkeypatch.setattr("app.operations.metrics.MOST_MODELS", 1)
    for tenant, jobs in (("small", 1), ("large", 2), ("smaller", 1)):
        become(client, tenant)
        upload(client)
        for _ in range(jobs):
            submit(client)
    for model_id in ("mdl_1", "mdl_2", "mdl_1", "mdl_3"):
        resources_of(client)[Metrics].predicted(model_id, 1, {})

    become(client, "local")
    text = client.get("/metrics").text
    assert samples(text, "foldhouse_shards") == {
        ("queued",): 2,
        ("running",): 0,
        ("queued", "large"): 2,
    }
    assert samples(text, "foldhouse_predicted_rows_total") == {("mdl_1",): 2, ("others",): 2}
