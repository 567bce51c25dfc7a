"""Errors that do not come from what was sent."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from house_api import upload
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import SessionTransaction

from app.datasets import repository
from app.errors import PROBLEM_MEDIA_TYPE
from app.main import create_app
from app.settings import Settings


def failing(error: Exception) -> object:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_the_unforeseen_is_logged_and_told_without_a_stack_trace(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(repository, "get", failing(RuntimeError("the secret reason")))

    with caplog.at_level(logging.ERROR):
        response = client.get("/v1/datasets/latest")

    request_id = response.headers["X-Request-Id"]
    assert response.status_code == 500
    assert response.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    assert request_id in response.json()["detail"]
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    [record] = [record for record in caplog.records if record.name == "app.observe"]
    assert request_id in record.getMessage()
    assert record.exc_info is not None
    counted = 'route="/v1/datasets/{dataset_id}",status="500"} 1.0'
    assert counted in client.get("/metrics").text


@pytest.mark.parametrize(
    ("cause", "status", "slug"),
    [
        ("database is locked", 503, "unavailable"),
        ("database or disk is full", 507, "out-of-space"),
    ],
)
def test_what_the_database_says(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, cause: str, status: int, slug: str
) -> None:
    error = OperationalError("SELECT secret", {}, sqlite3.OperationalError(cause))
    monkeypatch.setattr(repository, "get", failing(error))

    response = client.get("/v1/datasets/latest")

    assert response.status_code == status
    assert response.json()["type"].endswith(f"/{slug}")
    assert "secret" not in response.text


def test_a_database_that_is_away_is_a_503(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path, database_url="postgresql+psycopg://nobody@127.0.0.1:1/none"
    )
    with TestClient(create_app(settings)) as client:
        responses = [
            client.get("/v1/jobs"),
            client.get("/v1/jobs/latest"),
            client.post("/v1/jobs", json={"dataset_id": "latest", "target": "Price"}),
            client.post("/v1/datasets", content="a,b\n1,2\n", headers={"Content-Type": "text/csv"}),
            client.post("/v1/predict", json={"rows": [{"a": 1}]}),
        ]
        alive = client.get("/healthz")

    for response in responses:
        assert response.status_code == 503, response.text
        assert response.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
        assert response.headers["Retry-After"] == "5"
    assert alive.status_code == 200


def test_a_stored_table_that_is_gone_is_told(client: TestClient, settings: Settings) -> None:
    upload(client)
    for path in (settings.root / "storage").rglob("table.csv"):
        path.unlink()

    response = client.get("/v1/datasets/latest/content")

    assert response.status_code == 503
    assert response.json()["type"].endswith("/damaged-file")


def test_a_failed_commit_is_not_answered_with_success(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction ends before the answer leaves."""
    upload(client)
    error = OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error"))
    monkeypatch.setattr(SessionTransaction, "commit", failing(error))
    response = client.post("/v1/jobs", json={"dataset_id": "latest", "target": "Price"})
    monkeypatch.undo()

    assert response.status_code == 503
    assert client.get("/v1/jobs").json()["data"] == []
