"""A job that trains another's model again says whether every number is equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import register, resources_of, result, submit, upload, write_artifacts
from sqlalchemy import insert

from app.storage.tables import EpochMetric


def learn(client: TestClient, job_id: str, loss: float) -> None:
    """An epoch of the job, as an attempt stores it."""
    row: dict[str, Any] = dict.fromkeys(EpochMetric.__table__.columns.keys())
    known = {"tenant": "local", "job_id": job_id, "shard": 0, "fold": 0, "epoch": 1}
    with resources_of(client).database.writing() as session:
        session.execute(
            insert(EpochMetric), [row | known | {"train_loss": loss, "learning_rate": 0.1}]
        )


def again(
    client: TestClient, folder: Path, reported: dict[str, Any], loss: float = 0.5
) -> dict[str, Any]:
    """What the reproduction of a job reports."""
    upload(client)
    files = write_artifacts(folder)
    resources = resources_of(client)
    first = submit(client)
    learn(client, first["id"], 0.5)
    register(resources, first["id"], files, result())
    answer = client.post(f"/v1/jobs/{first['id']}/reproduce")
    assert answer.status_code == 202, answer.text
    second = answer.json()
    assert second["spec"] == first["spec"]
    learn(client, second["id"], loss)
    register(resources, second["id"], files, reported)
    found: dict[str, Any] = client.get(answer.headers["Location"]).json()["result"]["reproduction"]
    assert found.pop("of") == first["id"]
    return found


def test_the_same_again_is_equal(both_clients: TestClient, tmp_path: Path) -> None:
    found = again(both_clients, tmp_path / "model", result() | {"seconds": {"total": 9.0}})
    assert found == {"equal": True, "differs": [], "surroundings": []}


@pytest.mark.parametrize(
    ("changed", "differs", "surroundings"),
    [
        ({"metrics": {"rmse": 1.5000001, "r2": None}}, ["metrics"], []),
        ({"receipt": {"seed": 0, "device": "cuda"}}, [], ["device"]),
    ],
)
def test_what_differs_is_named(
    client: TestClient,
    tmp_path: Path,
    changed: dict[str, Any],
    differs: list[str],
    surroundings: list[str],
) -> None:
    found = again(client, tmp_path / "model", result() | changed)
    assert found == {"equal": not differs, "differs": differs, "surroundings": surroundings}


def test_epochs_count_too(both_clients: TestClient, tmp_path: Path) -> None:
    found = again(both_clients, tmp_path / "model", result(), loss=0.25)
    assert found["differs"] == ["epochs"]


def test_a_job_without_numbers_cannot_be_reproduced(client: TestClient) -> None:
    upload(client)
    job = submit(client)
    assert client.post(f"/v1/jobs/{job['id']}/reproduce").status_code == 409
    assert client.get("/v1/jobs/latest").json()["status"] == "queued"
