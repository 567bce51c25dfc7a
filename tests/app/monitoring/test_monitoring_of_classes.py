"""The drift of predicted classes from those out of fold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classes import class_frame, let_model
from fastapi.testclient import TestClient
from house_api import registered, resources_of, serving, train
from sqlalchemy import select

from app.monitoring.service import drift_of
from app.monitoring.usage import Bins
from app.settings import Settings
from app.storage.tables import ModelUsage

CSV = {"Content-Type": "text/csv"}


@pytest.fixture
def client(settings: Settings, tmp_path: Path) -> Iterator[TestClient]:
    """The application with a champion that says no or yes."""
    with serving(settings) as client:
        registered(client, let_model(), tmp_path / "let")
        yield client


def ask(client: TestClient, frame: Any, **params: Any) -> list[str]:
    text = frame.to_csv(index=False)
    response = client.post("/v1/predict", content=text, params=params, headers=CSV)
    return [line.split(",")[0] for line in response.text.splitlines()[1:]]


def predictions(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/v1/models/champion/monitoring").json()["predictions"]
    return found


def test_predicted_classes_are_counted_beside_the_columns(client: TestClient) -> None:
    frame = class_frame(rows=200, seed=3).drop(columns=["state", "let"])
    assert predictions(client) is None
    said = ask(client, frame)
    assert {*said} == {"no", "yes"}
    usual = predictions(client)
    assert (usual["column"], usual["drift"]) == ("let", "none")
    with resources_of(client).database.reading() as session:
        [usage] = session.scalars(select(ModelUsage)).all()
    assert usage.columns["let"] == [said.count("no"), said.count("yes")]

    rich = frame[[answer == "yes" for answer in said]]
    for _ in range(5):
        ask(client, rich)
    drifted = predictions(client)
    assert drifted["drift"] == "large"
    assert drifted["psi"] > drifted["by_chance"]
    columns = client.get("/v1/models/champion/monitoring").json()["columns"]
    assert "let" not in {column["column"] for column in columns}


def test_a_threshold_of_a_request_is_no_drift(client: TestClient) -> None:
    frame = class_frame(rows=200, seed=3).drop(columns=["state", "let"])
    assert {*ask(client, frame, threshold=0.001)} == {"yes"}
    assert predictions(client)["drift"] == "none"


def test_models_of_numbers_count_no_predictions(settings: Settings, tmp_path: Path) -> None:
    with serving(settings) as client:
        train(client, tmp_path / "price")
        client.post("/v1/predict", json={"rows": [{"Area": 100}]})
        found = client.get("/v1/models/champion/monitoring").json()
        assert found["predictions"] is None
        assert found["columns"]


def test_counts_of_parts_add_up() -> None:
    counted = Bins(let_model().manifest)
    one = counted.count(np.zeros((3, 4)), np.zeros((3, 2), np.int64), np.array([0, 1, 1]))
    two = counted.count(np.zeros((1, 4)), np.zeros((1, 2), np.int64), np.array([1]))
    assert counted.by_column(one + two)["let"] == [1, 3]
    assert counted.by_column(counted.nothing())["let"] == [0, 0]


def test_a_rare_class_does_not_hide_the_last_one() -> None:
    """Unlike the last bin of a column, which counts unknown cells."""
    shares = [0.01, 0.49, 0.5]
    usage = [ModelUsage(columns={"kind": [0, 100, 0]})]
    seen = drift_of("kind", shares, 100, usage, has_others=False)
    assert seen is not None
    assert seen.psi > 1
    usage = [ModelUsage(columns={"kind": [1, 49, 50]})]
    same = drift_of("kind", shares, 100, usage, has_others=False)
    assert same is not None
    assert same.psi < 0.001
