"""Models of classes by the protocols of MLflow and KServe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from classes import STATES, class_frame, state_model
from fastapi.testclient import TestClient
from house_api import register, registered, resources_of, serving, submit, upload
from listening import listening
from many_classes import files, names, probabilities
from test_open_inference import texts

from app.protocols.columns import bytes_of
from app.settings import Settings
from app.storage.migrate import upgrade

INFER = "/v2/models/champion/infer"
FRAME = class_frame(rows=30, seed=7).drop(columns=["state", "let"])
ROWS = FRAME.astype(object).where(FRAME.notna(), None).to_dict("records")
TENSORS = [
    {
        "name": name,
        "shape": [len(ROWS)],
        "datatype": "FP64" if pd.api.types.is_numeric_dtype(FRAME[name]) else "BYTES",
        "data": [row[name] for row in ROWS],
    }
    for name in FRAME
]
MANY = 30


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A champion of three classes, and `many`."""
    folder = tmp_path_factory.mktemp("classes")
    settings = Settings(data_dir=folder)
    upgrade(settings.resolved_database_url)
    with serving(settings) as client:
        registered(client, state_model(), folder / "state")
        model_id = with_many_classes(client, folder / "many")
        client.put("/v1/aliases/many", json={"model_id": model_id})
    return settings


@pytest.fixture(scope="module")
def client(trained: Settings) -> Iterator[TestClient]:
    with serving(trained) as client:
        yield client


def with_many_classes(client: TestClient, folder: Path) -> str:
    upload(client)
    return register(resources_of(client), submit(client)["id"], files(folder, MANY))


@pytest.fixture
def expected(client: TestClient) -> dict[str, list[Any]]:
    """What /v1/predict says of `ROWS`, output by output."""
    found = client.post("/v1/predict", json={"rows": ROWS}).json()["predictions"]
    sets = [[level.replace("|", "\\|") for level in row["set"]["levels"]] for row in found]
    return {
        "label": [row["value"] for row in found],
        "probability": [row["probabilities"][row["value"]] for row in found],
        "probabilities": [[*row["probabilities"].values()] for row in found],
        "set": ["|".join(levels) for levels in sets],
        "warnings": [
            "; ".join(f"{odd['code']} {odd['column']}" for odd in row["warnings"]) for row in found
        ],
    }


def scored(client: TestClient, **params: Any) -> dict[str, Any]:
    response = client.post("/invocations", json={"dataframe_records": ROWS, "params": params})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def outputs(response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return {output["name"]: output for output in response.json()["outputs"]}


def test_mlflow_answers_with_classes(client: TestClient, expected: dict[str, list[Any]]) -> None:
    answer = scored(client)
    assert [*answer][:5] == ["predictions", "probability", "probabilities", "set", "warnings"]
    assert answer["predictions"] == expected["label"]
    for name in ("probability", "probabilities", "set", "warnings"):
        assert answer[name] == expected[name]
    assert scored(client, predict_method="predict") == answer
    narrow = scored(client, coverage=0.5)
    assert sum(map(len, narrow["set"])) < sum(map(len, answer["set"]))


def test_mlflow_answers_with_probabilities(
    client: TestClient, expected: dict[str, list[Any]]
) -> None:
    answer = scored(client, predict_method="predict_proba")
    levels = client.get("/v1/models/champion").json()["classes"]["levels"]
    assert levels == [*STATES]
    assert answer["predictions"] == expected["probabilities"]
    assert answer["label"] == expected["label"]
    assert "probabilities" not in answer


def test_other_methods_are_refused_by_name(client: TestClient) -> None:
    body = {"inputs": ROWS, "params": {"predict_method": "score"}}
    response = client.post("/invocations", json=body)
    assert response.status_code == 400
    told = "/params/predict_method must be predict or predict_proba for this model, got 'score'"
    assert told in response.json()["message"]


def test_open_inference_answers_with_labels_and_probabilities(
    client: TestClient, expected: dict[str, list[Any]]
) -> None:
    found = outputs(client.post(INFER, json={"inputs": TENSORS}))
    rows = len(ROWS)
    assert {name: (one["datatype"], one["shape"]) for name, one in found.items()} == {
        "label": ("BYTES", [rows]),
        "probability": ("FP64", [rows]),
        "probabilities": ("FP64", [rows, len(STATES)]),
        "set": ("BYTES", [rows]),
        "warnings": ("BYTES", [rows]),
    }
    assert {name: one["data"] for name, one in found.items()} == expected
    described = client.get("/v2/models/champion").json()["outputs"]
    assert {one["name"]: (one["datatype"], one["shape"]) for one in described} == {
        "label": ("BYTES", [-1]),
        "probability": ("FP64", [-1]),
        "probabilities": ("FP64", [-1, len(STATES)]),
        "set": ("BYTES", [-1]),
        "warnings": ("BYTES", [-1]),
    }


def test_open_inference_answers_in_bytes(
    client: TestClient, expected: dict[str, list[Any]]
) -> None:
    names = ("label", "probabilities", "set")
    body = {
        "inputs": TENSORS,
        "outputs": [{"name": name} for name in names],
        "parameters": {"binary_data_output": True},
    }
    response = client.post(INFER, json=body)
    size = int(response.headers["Inference-Header-Content-Length"])
    sizes = [
        one["parameters"]["binary_data_size"]
        for one in json.loads(response.content[:size])["outputs"]
    ]
    parts = np.split(np.frombuffer(response.content[size:], np.uint8), np.cumsum(sizes))
    assert parts.pop().size == 0
    assert parts[0].tobytes() == texts(*(text.encode() for text in expected["label"]))
    assert parts[1].view("<f8").reshape(-1, 3).tolist() == expected["probabilities"]
    assert parts[2].tobytes() == texts(*(text.encode() for text in expected["set"]))


def test_bytes_are_row_by_row() -> None:
    assert bytes_of([(1.0, 2.0), (3.0, 4.0)]) == np.arange(1.0, 5.0).tobytes()


def test_probabilities_of_many_classes_are_given_if_requested(client: TestClient) -> None:
    address = "/v2/models/many/infer"
    inputs = [{"name": "x", "shape": [2], "datatype": "FP64", "data": [3.2, 28]}]
    usual = outputs(client.post(address, json={"inputs": inputs}))
    assert [*usual] == ["label", "probability", "set", "warnings"]
    asked = {"inputs": inputs, "outputs": [{"name": "probabilities"}]}
    [found] = outputs(client.post(address, json=asked)).values()
    assert found["shape"] == [2, MANY]
    for row, x in zip(found["data"], (3.2, 28), strict=True):
        assert row == pytest.approx(probabilities(x, MANY))
    described = client.get("/v2/models/many").json()["outputs"]
    assert ("probabilities", [-1, MANY]) in [(one["name"], one["shape"]) for one in described]

    champion = client.get("/v1/models/champion").json()["id"]
    client.put("/v1/aliases/champion", json={"model_id": "many", "force": True})
    body: dict[str, Any] = {"inputs": {"x": [3.2]}}
    answer = client.post("/invocations", json=body).json()
    assert answer["predictions"] == ["class 3"]
    assert "probabilities" not in answer
    body["params"] = {"predict_method": "predict_proba"}
    answer = client.post("/invocations", json=body).json()
    client.put("/v1/aliases/champion", json={"model_id": champion, "force": True})
    assert dict(zip(names(MANY), answer["predictions"][0], strict=True)) == pytest.approx(
        dict(zip(names(MANY), probabilities(3.2, MANY), strict=True))
    )


@pytest.mark.parametrize("as_bytes", [True, False], ids=["bytes", "JSON"])
def test_tritons_client_reads_classes(
    trained: Settings, expected: dict[str, list[Any]], as_bytes: bool
) -> None:
    triton = pytest.importorskip("tritonclient.http", reason="needs [clients]")
    inputs = []
    for tensor in TENSORS:
        inputs.append(triton.InferInput(tensor["name"], tensor["shape"], tensor["datatype"]))
        if tensor["datatype"] == "FP64":
            cells = np.array(tensor["data"], float)
        else:
            cells = np.array([cell or "" for cell in tensor["data"]], object)
        inputs[-1].set_data_from_numpy(cells, binary_data=as_bytes)
    asked = [triton.InferRequestedOutput(name, binary_data=as_bytes) for name in expected]
    with listening(trained) as port:
        with triton.InferenceServerClient(f"127.0.0.1:{port}") as server:
            found = server.infer("champion", inputs, outputs=asked)
    assert found.as_numpy("probabilities").tolist() == expected["probabilities"]
    for name in ("label", "set"):
        cells = found.as_numpy(name).tolist()
        assert [cell.decode() if as_bytes else cell for cell in cells] == expected[name]
