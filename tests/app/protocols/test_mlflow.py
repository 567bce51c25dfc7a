"""MLflow's scoring protocol, by hand and with MLflow's own client."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import houses_csv, serving, train
from protocol_rows import COLUMNS, ROWS, predict

from app.protocols.mlflow import PROTOCOL_VERSION
from app.settings import Settings

JSON = {"Content-Type": "application/json"}
RECORD = {"Area": 100, "Quality": 3, "Zone": "south"}

SPLIT = {
    "columns": [*COLUMNS],
    "data": [list(row.values()) for row in ROWS],
    "index": [7, 8, 9],
}
FORMS: dict[str, dict[str, Any]] = {
    "dataframe_split": {"dataframe_split": SPLIT},
    "dataframe_split without an index": {"dataframe_split": {**SPLIT, "index": None}},
    "dataframe_records": {"dataframe_records": ROWS},
    "instances": {"instances": ROWS},
    "instances by column": {"instances": COLUMNS},
    "inputs": {"inputs": COLUMNS},
    "inputs by row": {"inputs": ROWS},
    "inputs of shape [N, 1]": {"inputs": {n: [[cell] for cell in COLUMNS[n]] for n in COLUMNS}},
    "another member": {"inputs": COLUMNS, "signature_name": "predict"},
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_cost_what_predict_says(client: TestClient, form: str) -> None:
    response = client.post("/invocations", json=FORMS[form])

    expected = predict(client)
    assert response.status_code == 200, response.text
    model_id = client.get("/v1/models/champion").json()["id"]
    assert response.json() == {
        "predictions": expected.pop("value"),
        **expected,
        "model_id": model_id,
        "target": "Price",
        "unit": "€",
        "alias": "champion",
        "missing_columns": [],
        "ignored_columns": [],
        "answer_warnings": [],
    }


def test_nan_is_a_missing_cell_and_infinity_no_number(client: TestClient) -> None:
    nan = json.dumps({"inputs": [{**RECORD, "Area": float("nan")}]})
    infinite = json.dumps({"inputs": {"Area": [float("inf")], "Zone": [float("inf")]}})
    answers = [
        client.post("/invocations", content=text, headers=JSON).json() for text in (nan, infinite)
    ]

    assert answers[0]["warnings"] == ["missing_value Area"]
    assert answers[1]["warnings"] == ["not_a_number Area; unknown_category Zone"]
    assert answers[1]["missing_columns"] == ["Quality"]


def test_a_csv_costs_what_predict_says(client: TestClient) -> None:
    csv = {"Content-Type": "text/csv; charset=utf-8"}
    text = houses_csv() + "61,,3,west,\n"
    response = client.post("/invocations", content=text, headers=csv)

    expected = client.post("/v1/predict", content=text, headers=csv | {"Accept": "*/*"})
    lines = [line.split(",") for line in expected.text.splitlines()[1:]]
    assert response.json()["predictions"] == [float(line[0]) for line in lines]
    assert response.json()["warnings"] == [line[3] for line in lines]


def test_params(client: TestClient) -> None:
    narrow = client.post("/invocations", json={"inputs": ROWS, "params": {"coverage": 0.5}})
    refused = client.post("/invocations", json={"inputs": ROWS, "params": {"on_unknown": "error"}})

    assert narrow.json()["low"] == predict(client, coverage=0.5)["low"]
    assert refused.status_code == 400
    assert "row 2, column Zone: 'west' is not among" in refused.json()["message"]


def test_extra_columns_are_named_in_a_header(client: TestClient) -> None:
    response = client.post("/invocations", json={"inputs": [{**RECORD, "Id": 1}]})

    assert response.headers["X-Ignored-Columns"] == "Id"


def test_a_price_that_is_not_finite_is_null(client: TestClient) -> None:
    response = client.post("/invocations", json={"inputs": [{**RECORD, "Area": 1.7e308}]})

    assert response.json()["predictions"] == [None]


def test_long_columns_are_priced_in_order(client: TestClient) -> None:
    areas = list(range(9_000))
    response = client.post("/invocations", json={"inputs": {"Area": areas}})
    document = {"rows": [{"Area": area} for area in areas]}

    expected = client.post("/v1/predict", json=document).json()["predictions"]
    assert response.json()["predictions"] == [row["value"] for row in expected]


WRONG: dict[str, tuple[Any, str]] = {
    "a list": ([], "JSON object"),
    "no form": ({}, "exactly one of dataframe_split"),
    "two forms": ({"inputs": ROWS, "instances": ROWS}, "exactly one of"),
    "no rows": ({"dataframe_records": []}, "no rows"),
    "no columns": ({"inputs": {}}, "no rows"),
    "numbers without names": ({"inputs": [[1, 2], [3, 4]]}, "do not say which column"),
    "a text": ({"instances": "x"}, "/instances"),
    "columns of two lengths": ({"inputs": {"Area": [1, 2], "Zone": ["a"]}}, "1 in 'Zone'"),
    "a column twice": ({"dataframe_split": {"columns": ["a", "a"], "data": []}}, "'a' twice"),
    "a split without columns": ({"dataframe_split": {"data": [[1]]}}, "/dataframe_split/columns"),
    "a long row": ({"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}, "row 2 has 2"),
    "a list for a cell": ({"dataframe_records": [{"Area": [1]}]}, "/dataframe_records/0/Area"),
    "an object for a cell": ({"inputs": {"Area": [1, {}]}}, "/inputs/Area/1"),
    "none of the columns": ({"inputs": {"x": [1]}}, "none of the columns"),
    "another parameter": ({"inputs": ROWS, "params": {"coverge": 0.9}}, "'coverge'"),
    "a coverage in per cent": ({"inputs": ROWS, "params": {"coverage": 90}}, "/params/coverage"),
    "probabilities of a number": (
        {"inputs": ROWS, "params": {"predict_method": "predict_proba"}},
        "/params/predict_method must be predict for this model",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_bodies_are_told_as_mlflow_does(client: TestClient, case: str) -> None:
    body, named = WRONG[case]
    response = client.post("/invocations", json=body)

    assert response.status_code == 400, response.text
    assert response.headers["Content-Type"] == "application/json"
    assert set(response.json()) == {"error_code", "message"}
    assert response.json()["error_code"] == "BAD_REQUEST"
    assert named in response.json()["message"]


def test_a_column_that_a_row_has_twice_is_told(client: TestClient) -> None:
    body = b'{"instances": [{"Area": 1}, {"Area": 1, "Area": 2}]}'
    response = client.post("/invocations", content=body, headers=JSON)

    assert response.status_code == 400
    assert "/instances/1/Area occurs twice" in response.json()["message"]


@pytest.mark.parametrize("content", [b"x", b"[" * 50_000, b'{"inputs": {"a": [1', b"\xff", b""])
def test_what_is_no_json_is_told(client: TestClient, content: bytes) -> None:
    response = client.post("/invocations", content=content, headers=JSON)

    assert response.status_code == 400
    assert "not JSON" in response.json()["message"]


def test_a_fault_far_down_a_column_is_told_by_its_place(client: TestClient) -> None:
    """Long columns are checked in parts."""
    response = client.post("/invocations", json={"inputs": {"Area": [1] * 12_000 + [[1, 2]]}})

    assert response.status_code == 400
    assert "/Area/12000" in response.json()["message"]


def test_bodies_above_a_limit_are_refused(client: TestClient) -> None:
    rows = client.post("/invocations", json={"inputs": {"Area": [1] * 10_001}})
    data = client.post("/invocations", json={"inputs": {"Area": ["x" * 200_000]}})
    xml = client.post("/invocations", content=b"<a/>", headers={"Content-Type": "text/xml"})

    assert (rows.status_code, data.status_code, xml.status_code) == (413, 413, 415)
    assert "max_predict_rows" in rows.json()["message"]
    assert "max_body_bytes" in data.json()["message"]
    assert "text/xml" in xml.json()["message"]


def test_many_faults_cost_little(settings: Settings, tmp_path: Path) -> None:
    """Each would have been a finding of a kilobyte."""
    unknown = {str(place): {} for place in range(10_000)}
    bodies = [{"params": unknown}, {"inputs": unknown}, {"inputs": [unknown]}]
    with serving(settings) as client:
        train(client, tmp_path / "model")
        for body in bodies:
            response = client.post("/invocations", json=body)
            assert response.status_code == 400
            assert len(response.text) < 1000


def test_without_a_champion_nothing_is_ready(settings: Settings) -> None:
    with serving(settings) as client:
        ping = client.get("/ping")
        invocation = client.post("/invocations", json={"inputs": ROWS})

    assert ping.status_code == invocation.status_code == 404
    assert ping.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert "champion" in invocation.json()["message"]


def test_ping_and_version(client: TestClient) -> None:
    assert (client.get("/ping").status_code, client.get("/ping").text) == (200, "\n")
    assert client.get("/version").text == PROTOCOL_VERSION


@pytest.fixture
def scoring(port: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's client."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    module = pytest.importorskip("mlflow.pyfunc.scoring_server.client", reason="needs [clients]")
    return module.ScoringServerClient("127.0.0.1", port)


def test_mlflows_client_is_answered(client: TestClient, scoring: Any) -> None:
    pandas = pytest.importorskip("pandas")
    scoring.wait_server_ready(timeout=10)
    expected = predict(client)

    answer = scoring.invoke(pandas.DataFrame(COLUMNS), params={"coverage": 0.9})

    assert scoring.get_version() == PROTOCOL_VERSION
    assert answer.get_predictions()[0].tolist() == expected["value"]
    assert answer.get_predictions("ndarray").tolist() == expected["value"]
    assert answer["warnings"] == expected["warnings"]
    assert scoring.invoke(ROWS)["predictions"] == expected["value"]
    with pytest.raises(Exception, match=r"error code 400.*BAD_REQUEST.*none of the columns"):
        scoring.invoke(pandas.DataFrame({"x": [1]}))


def test_ci_does_not_skip_the_clients() -> None:
    if os.environ.get("CI"):
        import mlflow.version
        import tritonclient.http  # noqa: F401

        assert mlflow.version.VERSION == PROTOCOL_VERSION
