"""/healthz, /readyz and /metrics"""

from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from fsspec.implementations.local import LocalFileSystem
from house_api import resources_of, serving, submit, upload

from app.settings import Settings
from app.storage.tables import Worker


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

    assert 'foldhouse_jobs{state="queued"} 1.0' in text
    assert 'foldhouse_jobs{state="failed"} 0.0' in text
    requests = 'foldhouse_http_requests_total{method="GET",route="%s",status="%d"} 1.0'
    assert requests % ("/v1/jobs/{job_id}", 200) in text
    assert requests % ("/v1/jobs/{job_id}", 404) in text
    assert requests % ("unknown", 404) in text
    assert "foldhouse_http_request_duration_seconds_bucket" in text
    assert "process_resident_memory_bytes" in text
