"""A job that trains another's model again says whether every number is equal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import (
    houses_csv,
    register,
    resources_of,
    result,
    serving,
    submit,
    upload,
    write_artifacts,
)
from sqlalchemy import insert

from app.settings import Settings
from app.storage.tables import EpochMetric
from models.spec.digest import sha256_of


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
    assert (found.pop("of"), found.pop("elsewhere")) == (first["id"], False)
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


@pytest.fixture
def elsewhere(tmp_path: Path, _sqlite_template: Path) -> Iterator[TestClient]:
    """Another installation."""
    copy = Path(shutil.copy(_sqlite_template, tmp_path / "elsewhere.sqlite"))
    settings = Settings(data_dir=tmp_path / "elsewhere", database_url=f"sqlite:///{copy}")
    with serving(settings) as client:
        yield client


def trained_elsewhere(elsewhere: TestClient, folder: Path) -> dict[str, Any]:
    """A succeeded job of the other installation, as it answers it."""
    dataset = upload(elsewhere)
    queued = submit(elsewhere, name="theirs")
    receipt = {
        "dataset_sha256": dataset["sha256"],
        "parquet_sha256": "0" * 64,
        "spec_sha256": sha256_of(queued["spec"]),
        "device": "cuda",
    }
    reported = result() | {"receipt": receipt, "intervals": [], "metrics_error": {"rmse": 0.25}}
    register(resources_of(elsewhere), queued["id"], write_artifacts(folder), reported)
    job: dict[str, Any] = elsewhere.get(f"/v1/jobs/{queued['id']}").json()
    return job


def test_a_job_of_another_installation_can_be_reproduced(
    both_clients: TestClient, elsewhere: TestClient, tmp_path: Path
) -> None:
    theirs = trained_elsewhere(elsewhere, tmp_path / "model")
    upload(both_clients)
    upload(both_clients, houses_csv(rows=50))  # `latest` is another table
    files = write_artifacts(tmp_path / "again")
    for deviation, differs in ((0.0, []), (1e-15, ["metrics_error"])):
        answer = both_clients.post("/v1/reproductions", json=theirs)
        assert answer.status_code == 202, answer.text
        ours = answer.json()
        assert (ours["spec"], ours["name"]) == (theirs["spec"], "theirs")
        reported = result() | {"intervals": [], "metrics_error": {"rmse": 0.25 + deviation}}
        register(resources_of(both_clients), ours["id"], files, reported)
        assert both_clients.get(answer.headers["Location"]).json()["result"]["reproduction"] == {
            "of": theirs["id"],
            "elsewhere": True,
            "equal": not differs,
            "differs": differs,
            "surroundings": ["device"],
        }
    page = both_clients.get(f"/jobs/{ours['id']}", headers={"Accept": "text/html"}).text
    assert f"{theirs['id']} of another installation" in page


def test_another_table_or_spec_is_refused(
    client: TestClient, elsewhere: TestClient, tmp_path: Path
) -> None:
    theirs = trained_elsewhere(elsewhere, tmp_path / "model")

    def pointer() -> str:
        answer = client.post("/v1/reproductions", json=theirs)
        assert answer.status_code == 422, answer.text
        [fault] = answer.json()["errors"]
        found: str = fault["pointer"]
        return found

    assert pointer() == "/result/receipt/dataset_sha256"
    upload(client)
    theirs["spec"]["seed"] += 1
    assert pointer() == "/result/receipt/spec_sha256"
    del theirs["result"]["receipt"]["spec_sha256"]
    assert pointer() == "/result/receipt/spec_sha256"
    assert client.get("/v1/jobs").json()["data"] == []
