"""Errors that do not come from what was sent."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from house_api import serving, upload
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import SessionTransaction

from app.datasets import repository
from app.errors import PROBLEM_MEDIA_TYPE
from app.settings import Settings


def failing(error: Exception) -> object:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_too_little_memory_is_a_503(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(repository, "get", failing(MemoryError("156 KiB")))
    with caplog.at_level(logging.ERROR):
        response = client.get("/v1/datasets/latest")
    assert response.status_code == 503
    assert response.json()["type"].endswith("/out-of-memory")
    assert response.headers["Retry-After"] == "5"
    assert "156 KiB" in caplog.text


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
    [record] = [record for record in caplog.records if record.name == "app.http.observe"]
    assert record.getMessage() == "GET /v1/datasets/latest failed"
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
    with serving(settings) as client:
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


@pytest.mark.parametrize("server", ["sqlite", "postgresql"])
def test_a_database_that_was_not_migrated_is_a_503(
    tmp_path: Path, request: pytest.FixtureRequest, server: str
) -> None:
    url = request.getfixturevalue("postgres_url") if server == "postgresql" else ""
    (tmp_path / "data").mkdir()
    with serving(Settings(data_dir=tmp_path / "data", database_url=url)) as client:
        response = client.get("/v1/jobs")

    assert response.status_code == 503
    assert "`foldhouse migrate`" in response.json()["detail"]


def test_another_programming_error_is_an_error_of_the_service(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ProgrammingError("SELEC", {}, sqlite3.ProgrammingError("syntax error"))
    monkeypatch.setattr(repository, "get", failing(error))

    assert client.get("/v1/datasets/latest").status_code == 500


def test_a_storage_that_fails_is_a_503_and_logged(
    client: TestClient, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    upload(client)
    storage = settings.root / "storage"
    shutil.rmtree(storage)
    storage.write_text("not a folder")

    responses = [
        client.get("/v1/datasets/latest/content"),
        client.post("/v1/datasets", content="a,b\n1,2\n", headers={"Content-Type": "text/csv"}),
    ]

    for response in responses:
        assert response.status_code == 503
        assert "storage" in response.json()["detail"]
        assert str(storage) not in response.text
    assert str(storage) in caplog.text


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


def test_what_a_path_does_not_answer_is_told_with_what_it_does(settings: Settings) -> None:
    with serving(settings) as client:
        predict = client.put("/v1/predict")
        model = client.post("/v1/models/mdl_1")
        health = client.delete("/healthz")

    assert [answer.status_code for answer in (predict, model, health)] == [405] * 3
    assert predict.headers["Allow"] == "OPTIONS, POST"
    assert model.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS"
    assert health.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert predict.json()["detail"] == "PUT is not allowed on /v1/predict; allowed: OPTIONS, POST."
