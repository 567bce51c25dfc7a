"""An alias that moves only to a model whose probabilities of the true classes are better."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import many_classes
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from house_api import register, resources_of, submit, train, upload

ROWS = 60


@pytest.fixture
def model(client: TestClient, tmp_path: Path) -> Callable[..., str]:
    """Registers a model that gave the true classes of `ROWS` rows these probabilities."""
    upload(client)

    def of(probability: float | np.ndarray, classes: int = 3) -> str:
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        described = many_classes.manifest(classes)
        described.spec["holdout"] = None
        (folder / "manifest.json").write_text(described.model_dump_json())
        table = {
            "row": range(ROWS),
            "fold": [row % 5 for row in range(ROWS)],
            "unit": range(ROWS),
            "probability_of_actual": np.full(ROWS, probability),
        }
        pq.write_table(pa.table(table), folder / "oof.parquet")
        files = [folder / "manifest.json", folder / "oof.parquet"]
        return register(resources_of(client), submit(client)["id"], files)

    return of


def put(client: TestClient, model_id: str, **more: Any) -> Any:
    body = {"model_id": model_id, "if_better_than": "champion", **more}
    return client.put("/v1/aliases/champion", json=body)


def test_models_are_compared_by_the_log_loss_of_the_same_rows(
    client: TestClient, model: Callable[..., str]
) -> None:
    chance = np.random.default_rng(0).uniform(0.4, 0.6, ROWS)
    model(chance)
    better = model(chance + 0.2)
    answer = put(client, better)
    assert answer.status_code == 200, answer.text
    comparison = answer.json()["comparison"]
    assert (comparison["metric"], comparison["rows"]) == ("log_loss", ROWS)
    ours, theirs = (-np.log(p).mean() for p in (chance + 0.2, chance))
    assert comparison["challenger"] == pytest.approx(ours)
    assert comparison["difference"] == pytest.approx(theirs - ours)
    assert client.get("/v1/models/champion").json()["id"] == better

    refused = put(client, model(np.roll(chance + 0.2, 1)))
    assert refused.status_code == 409
    assert f"log_loss is {ours:.6g} for" in refused.json()["detail"]


def test_a_probability_of_zero_costs_much_but_not_everything(
    client: TestClient, model: Callable[..., str]
) -> None:
    sure = np.where(np.arange(ROWS) == 7, 0.0, 0.99)
    model(sure)
    answer = put(client, model(0.9), force=True)
    assert 5 < answer.json()["comparison"]["champion"] < 20


def test_models_of_other_classes_are_not_compared(
    client: TestClient, model: Callable[..., str], tmp_path: Path
) -> None:
    first = model(0.5)
    refused = put(client, model(0.9, classes=4))
    assert refused.status_code == 409
    told = "one predicts the classes 'class 0', 'class 1', 'class 2', 'class 3', the other 'class"
    assert told in refused.json()["detail"]
    number = train(client, tmp_path / "price")
    refused = put(client, number)
    assert "one is a regression, the other a classification" in refused.json()["detail"]
    assert client.get("/v1/models/champion").json()["id"] == first
