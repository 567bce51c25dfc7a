"""The same odd rows have the same classes, probabilities and sets by every interface to a model."""

from __future__ import annotations

import csv
import io
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classes import class_frame, let_model, state_model
from exported import run
from fastapi.testclient import TestClient
from house_api import registered, serving
from houses import Built
from test_six_interfaces import CSV, ODD, ODD_SHARE, Rows, table, tensor

from app.settings import Settings
from app.storage.migrate import upgrade

ROWS = 400
MODELS: dict[str, Callable[[], Built]] = {"state": state_model, "let": let_model}


@dataclass(frozen=True)
class Answer:
    """probabilities (N, C)"""

    labels: list[str]
    probabilities: np.ndarray
    sets: list[str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("interfaces")
    settings = Settings(data_dir=folder)
    upgrade(settings.resolved_database_url)
    with serving(settings) as client:
        for name, built in MODELS.items():
            model_id = registered(client, built(), folder / name)
            client.put(f"/v1/aliases/{name}", json={"model_id": model_id})
    return settings


@pytest.fixture(params=[*MODELS])
def client(trained: Settings, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    """The application with one of the models as its champion."""
    with serving(trained) as client:
        body = {"model_id": request.param, "force": True}
        client.put("/v1/aliases/champion", json=body).raise_for_status()
        yield client


@pytest.fixture(scope="module")
def rows() -> Rows:
    chance = random.Random(0)
    frame = class_frame(rows=ROWS, seed=9).drop(columns=["state", "let"]).astype(object)
    rows = frame.where(frame.notna(), None).to_dict("records")
    for row in rows:
        for name in row:
            if chance.random() < ODD_SHARE:
                row[name] = chance.choice(ODD[name])
    return rows


def levels(client: TestClient) -> list[str]:
    found: list[str] = client.get("/v1/models/champion").json()["classes"]["levels"]
    return found


def of_json(response: Any) -> Answer:
    assert response.status_code == 200, response.text
    found = response.json()["predictions"]
    sets = [[level.replace("|", "\\|") for level in row["set"]["levels"]] for row in found]
    return Answer(
        [row["value"] for row in found],
        np.array([[*row["probabilities"].values()] for row in found]),
        ["|".join(one) for one in sets],
    )


def by_json(client: TestClient, rows: Rows) -> Answer:
    return of_json(client.post("/v1/predict", json={"rows": rows}))


def by_csv(client: TestClient, rows: Rows) -> Answer:
    columns = ["prediction", "set", *(f"p({level})" for level in levels(client))]
    content = table(rows, [*rows[0]])
    response = client.post(
        "/v1/predict", content=content, headers=CSV, params={"columns": ",".join(columns)}
    )
    lines = list(csv.DictReader(io.StringIO(response.text)))
    assert [*lines[0]] == columns
    return Answer(
        [line["prediction"] for line in lines],
        np.array([[float(line[name]) for name in columns[2:]] for line in lines]),
        [line["set"] for line in lines],
    )


def by_csv_to_json(client: TestClient, rows: Rows) -> Answer:
    headers = {**CSV, "Accept": "application/json"}
    return of_json(client.post("/v1/predict", content=table(rows, [*rows[0]]), headers=headers))


def by_mlflow(client: TestClient, rows: Rows) -> Answer:
    split = {"columns": [*rows[0]], "data": [[*row.values()] for row in rows]}
    params = {"predict_method": "predict_proba"}
    answer = client.post("/invocations", json={"dataframe_split": split, "params": params}).json()
    return Answer(answer["label"], np.array(answer["predictions"]), answer["set"])


def by_open_inference(client: TestClient, rows: Rows) -> Answer:
    inputs = [tensor(name, [row[name] for row in rows]) for name in rows[0]]
    response = client.post("/v2/models/champion/infer", json={"inputs": inputs}).json()
    found = {output["name"]: output["data"] for output in response["outputs"]}
    return Answer(found["label"], np.array(found["probabilities"]), found["set"])


def by_export(client: TestClient, rows: Rows, folder: Path) -> list[dict[str, str]]:
    archive = client.get("/v1/models/champion/export").content
    zipfile.ZipFile(io.BytesIO(archive)).extractall(folder)
    file = folder / "rows.csv"
    file.write_text(table(rows, [*rows[0]]), newline="")
    script = run(folder / "predict.py", file)
    assert script.returncode == 0, script.stderr
    return list(csv.DictReader(io.StringIO(script.stdout)))


def test_every_interface_gives_the_same_classes(
    client: TestClient, rows: Rows, tmp_path: Path
) -> None:
    expected = by_json(client, rows)
    assert len(expected.labels) == ROWS
    assert {*expected.labels} == {*levels(client)}
    assert len({*expected.sets}) > 3
    for interface in (by_csv, by_csv_to_json, by_mlflow, by_open_inference):
        found = interface(client, rows)
        assert found.labels == expected.labels, interface
        assert found.sets == expected.sets, interface
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)

    lines = by_export(client, rows, tmp_path)
    assert [*lines[0]] == ["prediction", "probability", "set"]
    assert [line["prediction"] for line in lines] == expected.labels
    assert [line["set"] for line in lines] == expected.sets
    places = [levels(client).index(label) for label in expected.labels]
    np.testing.assert_allclose(
        [float(line["probability"]) for line in lines],
        expected.probabilities[np.arange(ROWS), places],
        atol=1e-6,
    )


def test_the_export_says_what_its_outputs_are(client: TestClient) -> None:
    archive = client.get("/v1/models/champion/export").content
    readme = zipfile.ZipFile(io.BytesIO(archive)).read("README.txt").decode()
    told = " ".join(readme.split())
    assert "label [N] (string), probabilities [N, C] and members [K, N, C]" in told
    assert "sets.py Computes sets of classes." in told
    assert "price" not in told
    assert max(map(len, readme.splitlines())) <= 88
