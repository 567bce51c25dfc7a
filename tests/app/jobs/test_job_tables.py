"""GET …/metrics and …/oof, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import ROWS, finish, resources_of, submit, train, upload

from app.jobs import downloads as tables
from app.jobs.schemas import EpochOut
from app.storage.tables import LOCAL_TENANT, EpochMetric
from models.epochs import LAYER_FIGURES

CSV = {"Accept": "text/csv"}


def add_epochs(client: TestClient, job_id: str, folds: int, epochs: int) -> None:
    with resources_of(client).database.writing() as session:
        session.add_all(
            EpochMetric(
                tenant=LOCAL_TENANT,
                job_id=job_id,
                shard=0,
                fold=fold,
                epoch=epoch,
                train_loss=1 / (3 * epoch),
                validation_loss=None if epoch == 2 else 0.1 + fold,
                learning_rate=1e-3,
                gradient_norm=2 / epoch,
                dead_units=None if fold == 1 else 0.25,
                saturated_units=None,
                layers=None if epoch == 2 else [LAYER],
            )
            for epoch in range(1, epochs + 1)
            for fold in range(folds)
        )


LAYER: Any = {"name": "output"} | dict.fromkeys(LAYER_FIGURES, 0.5)


@pytest.mark.parametrize("batch_rows", [1, 4, 6, 100])
def test_metrics_by_fold_and_epoch(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, batch_rows: int
) -> None:
    monkeypatch.setattr(tables, "BATCH_ROWS", batch_rows)
    upload(client)
    another, job = submit(client), submit(client)
    for one, folds in ((another, 3), (job, 2)):
        add_epochs(client, one["id"], folds=folds, epochs=3)

    rows = client.get(f"/v1/jobs/{job['id']}/metrics").json()["data"]
    response = client.get("/v1/jobs/latest/metrics", headers=CSV)

    assert [(row["fold"], row["epoch"]) for row in rows] == [
        (fold, epoch) for fold in range(2) for epoch in range(1, 4)
    ]
    assert rows[1] == {
        "fold": 0,
        "epoch": 2,
        "train_loss": 1 / 6,
        "validation_loss": None,
        "learning_rate": 1e-3,
        "gradient_norm": 1.0,
        "dead_units": 0.25,
        "saturated_units": None,
        "layers": None,
    }
    assert rows[0]["layers"] == [LAYER]
    assert [EpochOut.model_validate(row).model_dump() for row in rows] == rows
    assert response.headers["Content-Type"].startswith("text/csv")
    written = list(csv.DictReader(io.StringIO(response.text)))
    assert [
        {name: float(cell) if cell else None for name, cell in row.items()} for row in written
    ] == [{name: cell for name, cell in row.items() if name != "layers"} for row in rows]


def test_a_job_without_epochs_has_an_empty_table(client: TestClient) -> None:
    upload(client)
    submit(client)

    assert client.get("/v1/jobs/latest/metrics").json() == {"data": []}
    header = client.get("/v1/jobs/latest/metrics", headers=CSV).text
    assert header == (
        "fold,epoch,train_loss,validation_loss,learning_rate,"
        "gradient_norm,dead_units,saturated_units\n"
    )


@pytest.mark.parametrize("batch_rows", [7, 1000])
def test_out_of_fold_predictions_are_the_same_in_both_formats(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_rows: int
) -> None:
    monkeypatch.setattr(tables, "BATCH_ROWS", batch_rows)
    train(client, tmp_path / "model")

    rows = client.get("/v1/jobs/latest/oof").json()["data"]
    text = client.get("/v1/jobs/latest/oof", headers=CSV).text

    assert [row["row"] for row in rows] == list(range(ROWS))
    bounds = {"low": 2.0, "high": 4.0}
    assert rows[3] == {"row": 3, "fold": 1, "actual": 3.1, "prediction": 3 + 0.1 / 3} | bounds
    written = list(csv.DictReader(io.StringIO(text)))
    assert [{key: float(cell) for key, cell in row.items()} for row in written] == rows


def test_out_of_fold_predictions_come_with_the_result(client: TestClient, tmp_path: Path) -> None:
    upload(client)
    job = submit(client)

    early = client.get("/v1/jobs/latest/oof")
    client.post("/v1/jobs/latest/cancel")
    cancelled = client.get("/v1/jobs/latest/oof")
    model_id = finish(resources_of(client), submit(client)["id"], tmp_path / "model")
    client.delete("/v1/aliases/champion")
    client.delete(f"/v1/models/{model_id}")
    deleted = client.get("/v1/jobs/latest/oof")

    assert early.status_code == cancelled.status_code == deleted.status_code == 404
    assert f"{job['id']} is queued" in early.json()["detail"]
    assert "was cancelled" in cancelled.json()["detail"]
    assert "model was deleted" in deleted.json()["detail"]
