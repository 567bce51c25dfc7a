"""Pricing rows as JSON and CSV, in and out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import ROWS, houses_csv, price, resources_of, serving, train, upload

from app.predictions.answers import BATCH_ROWS, listed
from app.predictions.rows import BLOCK_ROWS
from app.predictions.service import MOST_EXPLAINED
from app.settings import Settings
from app.storage.blobs import artifact_key
from app.storage.tables import Model
from models.tables.faults import RowWarning

CSV = {"Content-Type": "text/csv"}
JSON = {"Content-Type": "application/json"}
ACCEPT_CSV = {"Accept": "text/csv"}
ROW = {"Area": 100, "Quality": 3, "Zone": "south"}
RADIUS = 55.0  # the 55th of 60 scores from 1 to 60: ⌈61 · 0.9⌉


@pytest.fixture
def client(settings: Settings, tmp_path: Path) -> Iterator[TestClient]:
    """The application with a champion."""
    with serving(settings) as client:
        train(client, tmp_path / "model")
        yield client


def priced(client: TestClient, rows: list[dict[str, Any]], **params: Any) -> list[dict[str, Any]]:
    response = client.post("/v1/predict", json={"rows": rows}, params=params)
    assert response.status_code == 200, response.text
    predictions: list[dict[str, Any]] = response.json()["predictions"]
    return predictions


def test_a_row_has_its_price(client: TestClient) -> None:
    response = client.post("/v1/predict", json={"rows": [ROW]})

    model_id = client.get("/v1/models/champion").json()["id"]
    value = price(100, 3, "south")
    interval = {"low": value - RADIUS, "high": value + RADIUS, "coverage": 0.9}
    assert response.json() == {
        "model_id": model_id,
        "target": "Price",
        "unit": "€",
        "alias": "champion",
        "missing_columns": [],
        "ignored_columns": [],
        "warnings": [],
        "predictions": [{"value": value, "interval": interval, "warnings": []}],
    }
    by_alias = client.post("/v1/models/champion/predict", json={"rows": [ROW]})
    assert by_alias.json() == response.json()
    for path in (f"/v1/models/{model_id}/predict", f"/v1/predict?model={model_id}"):
        by_id = client.post(path, json={"rows": [ROW]})
        assert by_id.json() == response.json() | {"alias": None}


@pytest.mark.parametrize(
    "params",
    [{"explian": "true"}, {"coverage": "high"}, {"coverage": ["0.5", "0.9"]}, {"model": "a b"}],
)
def test_a_parameter_that_cannot_be_meant_is_refused(
    client: TestClient, params: dict[str, str | list[str]]
) -> None:
    response = client.post("/v1/predict", json={"rows": [ROW]}, params=params)

    assert response.status_code == 422
    assert f"query parameter '{next(iter(params))}'" in response.json()["errors"][0]["detail"]


def test_the_same_rows_cost_the_same_by_every_road(client: TestClient) -> None:
    text = houses_csv()
    table = list(csv.DictReader(io.StringIO(text)))
    rows = [
        {"Area": float(row["Area"]), "Quality": int(row["Quality"]), "Zone": row["Zone"]}
        for row in table
    ]
    names = ["Zone", "Price", "Area", "Id", "Quality"]
    shuffled = io.StringIO()
    writer = csv.DictWriter(shuffled, names)
    writer.writeheader()
    writer.writerows(table)

    alone = [priced(client, [row])[0]["value"] for row in rows]
    together = [prediction["value"] for prediction in priced(client, rows)]
    by_csv = client.post("/v1/predict", content=text, headers=CSV | {"Accept": "application/json"})
    by_file = client.post("/v1/predict", files={"file": shuffled.getvalue()}, headers=ACCEPT_CSV)

    assert len(alone) == ROWS
    assert together == alone
    assert [prediction["value"] for prediction in by_csv.json()["predictions"]] == alone
    written = csv.DictReader(io.StringIO(by_file.text))
    assert [float(row["prediction"]) for row in written] == alone


def test_csv_in_is_csv_out(client: TestClient) -> None:
    response = client.post(
        "/v1/predict", content="Area,Quality,Zone\n100,3,south\n,3,west\n", headers=CSV
    )

    assert response.headers["Content-Type"].startswith("text/csv")
    assert response.text == (
        "prediction,low,high,warnings\n"
        "101750.0,101695.0,101805.0,\n"
        "2000.0,1945.0,2055.0,missing_value Area; unknown_category Zone\n"
    )


def test_json_in_may_be_csv_out(client: TestClient) -> None:
    response = client.post(
        "/v1/predict?passthrough=Id&passthrough=Zone&columns=prediction",
        json={"rows": [{"Id": 7, **ROW}, {**ROW, "Zone": None}]},
        headers=ACCEPT_CSV,
    )

    assert response.text.splitlines()[:2] == ["Id,Zone,prediction", "7,south,101750.0"]
    assert response.text.splitlines()[2].startswith(",,")


def test_a_kaggle_submission(client: TestClient) -> None:
    response = client.post(
        "/v1/predict?passthrough=Id&name=Price&columns=prediction",
        content=houses_csv(rows=3),
        headers=CSV,
    )

    assert response.text == "Id,Price\n1,50000.0\n2,57750.0\n3,65000.0\n"


@pytest.mark.parametrize("query", ["passthrough=Id,Zone", "passthrough=Id&passthrough=Zone"])
def test_several_columns_pass_through(client: TestClient, query: str) -> None:
    response = client.post(
        f"/v1/predict?{query}&columns=prediction,warnings",
        content=houses_csv(rows=1),
        headers=CSV,
    )

    assert response.text.splitlines()[0] == "Id,Zone,prediction,warnings"


def test_formulas_that_pass_through_are_neutralised(client: TestClient) -> None:
    text = "Note,Change,Area,Quality,Zone\n=1+1,-5,100,3,south\n@x,+2e3,100,3,south\n"
    response = client.post(
        "/v1/predict?passthrough=Note&passthrough=Change&columns=prediction&name=%3Dname",
        content=text,
        headers=CSV,
    )

    assert response.text == "Note,Change,'=name\n'=1+1,-5,101750.0\n'@x,+2e3,101750.0\n"


def test_a_csv_has_in_headers_what_is_true_of_all_rows(client: TestClient) -> None:
    model_id = client.get("/v1/models/champion").json()["id"]
    table = client.post("/v1/predict", content="Id,Area\n1,100\n", headers=CSV)
    by_id = client.post(f"/v1/models/{model_id}/predict", content="Area\n100\n", headers=CSV)

    names = ("Model-Id", "Target", "Unit", "Alias", "Missing-Columns", "Ignored-Columns")
    told = [table.headers[f"X-{name}"] for name in names]
    assert told == [model_id, "Price", "%E2%82%AC", "champion", "Quality,Zone", "Id"]
    assert "X-Alias" not in by_id.headers
    assert table.text.splitlines()[1].endswith(",")  # no warning of the row


def test_the_warnings_of_a_row_are_bounded() -> None:
    columns = [f"c{place}" for place in range(30)]
    odd = [RowWarning("missing_value", name, "is missing") for name in columns]
    *first, last = listed(odd)

    assert first == odd[:20]
    assert (last.code, last.detail) == (
        "more_warnings",
        "10 more warnings of this row: 10 missing_value",
    )


def test_an_answer_is_bounded_like_its_request(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.predictions.spooling.ANSWER_FLOOR", 0)
    monkeypatch.setattr("app.predictions.spooling.ANSWER_PER_BYTE", 10)
    rows = {"rows": [{"Area": 1}, *[{}] * 200]}
    for path, body in [
        ("/v1/predict", rows),
        ("/invocations", {"instances": rows["rows"]}),
    ]:
        response = client.post(path, json=body)
        assert response.status_code == 413
        assert "?columns=prediction" in response.text


def test_json_with_a_byte_order_mark_is_read(client: TestClient) -> None:
    """Excel and PowerShell write one."""
    mark = b"\xef\xbb\xbf"
    body = mark + json.dumps({"rows": [ROW]}).encode()
    long = mark + json.dumps({"rows": [ROW] * 1000}).encode()
    for path in ("/v1/predict", "/v1/models/champion/predict"):
        assert client.post(path, content=body, headers=JSON).status_code == 200
    assert len(client.post("/v1/predict", content=long, headers=JSON).json()["predictions"]) == 1000
    spec = mark + b'{"dataset_id": "latest", "target": "Price"}'
    assert client.post("/v1/jobs:validate", content=spec, headers=JSON).status_code == 200


def test_bodies_in_flight_are_bounded_and_let_go(settings: Settings, tmp_path: Path) -> None:
    with serving(settings.model_copy(update={"max_inflight_body_bytes": 50_000})) as client:
        train(client, tmp_path / "model")
        long = client.post("/v1/predict", json={"rows": [ROW] * 5_000})
        for _ in range(3):
            assert client.post("/v1/predict", json={"rows": [ROW] * 1_500}).status_code == 200

    assert (long.status_code, long.headers["Retry-After"]) == (503, "2")
    assert "max_inflight_body_bytes, 50000" in long.json()["detail"]


def test_extra_columns_are_named_in_a_header(client: TestClient) -> None:
    response = client.post(
        "/v1/predict", json={"rows": [{**ROW, "größe, m²": 1}, {**ROW, "Id": 1}]}
    )
    many = client.post("/v1/predict", json={"rows": [ROW | {f"c{i:05}": 1 for i in range(2000)}]})
    none = client.post("/v1/predict", json={"rows": [ROW]})

    assert response.headers["X-Ignored-Columns"] == "gr%C3%B6%C3%9Fe%2C%20m%C2%B2,Id"
    assert len(many.headers["X-Ignored-Columns"]) < 4200
    *shown, left_out = many.headers["X-Ignored-Columns"].split(",")
    assert shown == many.json()["ignored_columns"][: len(shown)]
    assert left_out == f"+{2000 - len(shown)}"
    assert "X-Ignored-Columns" not in none.headers


def test_odd_cells_are_warned_of_or_refused(client: TestClient) -> None:
    rows: list[dict[str, Any]] = [ROW, {"Area": "large", "Zone": "west"}]

    warned = priced(client, rows)
    lacking = client.post("/v1/predict", json={"rows": [{"Area": 100}] * 2}).json()
    refused = client.post("/v1/predict", json={"rows": rows, "on_unknown": "error"})
    refused_csv = client.post(
        "/v1/predict?on_unknown=error", content="Area,Quality,Zone\n1,2,south\n1,,a\n", headers=CSV
    )

    assert warned[0]["warnings"] == []
    assert [(odd["code"], odd["column"]) for odd in warned[1]["warnings"]] == [
        ("not_a_number", "Area"),
        ("missing_value", "Quality"),
        ("unknown_category", "Zone"),
    ]
    assert lacking["missing_columns"] == ["Quality", "Zone"]
    assert [row["warnings"] for row in lacking["predictions"]] == [[], []]
    assert refused.status_code == refused_csv.status_code == 422
    assert refused.json()["type"].endswith("/invalid-rows")
    assert [(e["row"], e["column"]) for e in refused.json()["errors"]] == [
        (2, "Area"),
        (2, "Quality"),
        (2, "Zone"),
    ]
    errors = refused_csv.json()["errors"]
    assert [(error["row"], error["column"]) for error in errors] == [(2, "Quality"), (2, "Zone")]


def test_an_answer_names_a_hundred_faults_at_most(client: TestClient) -> None:
    response = client.post(
        "/v1/predict", json={"rows": [{"Area": "x"}] * 1000, "on_unknown": "error"}
    )

    assert response.status_code == 422
    assert len(response.json()["errors"]) == 100


def test_rows_that_are_no_rows_cost_little(client: TestClient) -> None:
    """Each of these would have been four findings of a kilobyte."""
    response = client.post("/v1/predict", json={"rows": [ROW, *[{"Area": []}] * 10_000]})

    assert response.status_code == 422
    assert [fault["pointer"] for fault in response.json()["errors"]] == ["/rows/1/Area"]


def test_members_that_nobody_knows_cost_little(client: TestClient) -> None:
    response = client.post(
        "/v1/predict", json={"rows": [ROW]} | dict.fromkeys(map(str, range(10_000)))
    )

    assert response.status_code == 422
    assert [fault["pointer"] for fault in response.json()["errors"]] == ["/0"]


def test_answers_of_several_batches_are_whole(client: TestClient) -> None:
    rows = [{**ROW, "Area": area} for area in range(2 * BATCH_ROWS)]
    for count in (BATCH_ROWS - 1, BATCH_ROWS, BATCH_ROWS + 1, 2 * BATCH_ROWS):
        values = [prediction["value"] for prediction in priced(client, rows[:count])]
        assert values == [price(row["Area"], 3, "south") for row in rows[:count]]


def test_more_rows_than_the_limit_are_refused(tmp_path: Path, settings: Settings) -> None:
    limits = {"max_predict_rows": 2, "max_rows": 3}
    with serving(settings) as client:
        train(client, tmp_path / "model")
    with serving(settings.model_copy(update=limits)) as client:
        text = houses_csv(rows=4)
        document = client.post("/v1/predict", json={"rows": [ROW] * 3})
        tables = [
            client.post("/v1/predict", content=text, headers=CSV),
            client.post("/v1/predict", files={"file": text}),
        ]
        enough = client.post("/v1/predict", json={"rows": [ROW] * 2})

    assert document.status_code == 413
    assert "3 rows, above max_predict_rows, 2" in document.json()["detail"]
    for response in tables:
        assert response.status_code == 422
        assert "more than 3 rows" in response.json()["detail"]
    assert enough.status_code == 200


@pytest.mark.parametrize("rows", [BLOCK_ROWS - 1, BLOCK_ROWS, 5 * BLOCK_ROWS + 1])
def test_long_tables_are_priced_in_order(client: TestClient, rows: int) -> None:
    text = "Area,Quality,Zone\n" + "".join(f"{area},3,south\n" for area in range(rows))
    answer = client.post("/v1/predict?columns=prediction", content=text, headers=CSV)

    assert list(map(float, answer.text.splitlines()[1:])) == [
        price(area, 3, "south") for area in range(rows)
    ]


def test_a_fault_at_the_end_of_a_long_table_is_an_error(client: TestClient) -> None:
    rows = "100,3,south\n" * (2 * BLOCK_ROWS)
    ragged = client.post("/v1/predict", content=f"Area,Quality,Zone\n{rows}1,2\n", headers=CSV)
    odd = client.post(
        "/v1/predict?on_unknown=error",
        content=f"Area,Quality,Zone\n{rows}large,3,south\n",
        headers=CSV,
    )

    for response in (ragged, odd):
        assert response.status_code == 422
        assert response.json()["errors"][0]["row"] == 2 * BLOCK_ROWS + 1


def test_any_coverage_may_be_asked_for(client: TestClient) -> None:
    value = price(100, 3, "south")
    (asked,) = priced(client, [ROW], coverage=0.5)
    document = client.post("/v1/predict?coverage=0.5", json={"rows": [ROW], "coverage": 0.8})
    text = client.post(
        "/v1/predict?coverage=0.95&columns=low,high",
        content="Area,Quality,Zone\n100,3,south\n",
        headers=CSV,
    ).text

    # ⌈61 · c⌉: the 31st, 49th and 58th of the scores 1 to 60.
    assert asked["interval"] == {"low": value - 31, "high": value + 31, "coverage": 0.5}
    assert document.json()["predictions"][0]["interval"]["high"] == value + 49
    assert text == f"low,high\n{value - 58:.1f},{value + 58:.1f}\n"


@pytest.mark.parametrize("coverage", ["0.49", "1", "nan", "much"])
def test_a_coverage_that_cannot_be_meant_is_refused(client: TestClient, coverage: str) -> None:
    response = client.post(f"/v1/predict?coverage={coverage}", json={"rows": [ROW]})

    assert response.status_code == 422
    assert "coverage" in response.json()["errors"][0]["detail"]


def test_too_few_rows_for_a_coverage_are_told(client: TestClient) -> None:
    answer = client.post("/v1/predict?coverage=0.99", json={"rows": [ROW]}).json()
    (found,) = answer["predictions"]
    table = client.post(
        "/v1/predict?coverage=0.99", content="Area,Quality,Zone\n100,3,south\n", headers=CSV
    )

    assert found["interval"] == {"low": None, "high": None, "coverage": 0.99}
    assert found["warnings"] == []
    (warning,) = answer["warnings"]
    assert (warning["code"], warning["column"]) == ("no_interval", None)
    assert "needs 99 scored rows outside of a fold, got 60" in warning["detail"]
    assert table.text.splitlines()[1] == f"{found['value']},,,"
    assert table.headers["X-Warnings"] == "no_interval"


def test_a_price_is_explained(client: TestClient) -> None:
    (found,) = priced(client, [ROW], explain=True)
    explanation = found["explanation"]

    # Two rows: 50 and quality 0 in the first zone, 100 without a quality in the second.
    assert explanation["base"] == (50_000 + 100_250) / 2
    assert explanation["contributions"] == {"Area": 25_000.0, "Quality": 1_500.0, "Zone": 125.0}
    assert explanation["base"] + sum(explanation["contributions"].values()) == found["value"]


def test_what_cannot_be_explained_is_refused(client: TestClient) -> None:
    many = client.post("/v1/predict?explain=true", json={"rows": [ROW] * (MOST_EXPLAINED + 1)})
    table = client.post(
        "/v1/predict?explain=true", json={"rows": [ROW]}, headers={"Accept": "text/csv"}
    )

    assert many.status_code == table.status_code == 422
    assert "at most 20 rows" in many.json()["detail"]
    assert "JSON" in table.json()["detail"]


def test_a_form_is_read_as_an_upload_is(client: TestClient) -> None:
    file = {"file": ("houses.csv", houses_csv(rows=2))}

    named = client.post("/v1/predict", files=file, data={"name": "houses"})
    other = client.post("/v1/predict", files=file, data={"note": "x"})

    assert named.status_code == 200
    assert other.status_code == 422
    assert "'note'" in other.json()["detail"]


def test_a_price_that_is_not_finite_is_null(client: TestClient) -> None:
    rows = [{**ROW, "Area": 1.7e308}]

    assert priced(client, rows)[0]["value"] is None
    text = "Area,Quality,Zone\n1.7e308,3,south\n"
    response = client.post("/v1/predict?columns=prediction,low", content=text, headers=CSV)
    assert response.text == "prediction,low\n,\n"


def test_without_a_model_the_answer_says_what_to_do(settings: Settings) -> None:
    with serving(settings) as client:
        response = client.post("/v1/predict", json={"rows": [ROW]})

    assert response.status_code == 404
    assert "champion" in response.json()["detail"]


def test_a_moved_alias_is_followed_at_once(client: TestClient) -> None:
    before = priced(client, [ROW])
    client.delete("/v1/aliases/champion")

    response = client.post("/v1/predict", json={"rows": [ROW]})

    assert len(before) == 1
    assert response.status_code == 404


@pytest.mark.parametrize("file", ["core.onnx", "manifest.json"])
def test_a_damaged_model_is_never_used(client: TestClient, file: str) -> None:
    model = client.get("/v1/models/champion").json()
    resources = resources_of(client)
    with resources.database.reading() as session:
        folder = session.get_one(Model, model["id"]).folder
    key = artifact_key(folder, model["artifacts"][file])
    stored = resources.settings.root / "storage" / key
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-1])

    damaged = client.post("/v1/predict", json={"rows": [ROW]})
    stored.write_bytes(whole)
    restored = client.post("/v1/predict", json={"rows": [ROW]})

    assert damaged.status_code == 503
    assert damaged.json()["type"].endswith("/damaged-file")
    assert file in damaged.json()["detail"]
    assert restored.status_code == 200


def test_rows_are_counted(client: TestClient) -> None:
    priced(client, [ROW] * 3)
    client.post("/v1/predict", content=houses_csv(rows=4), headers=CSV)

    model_id = client.get("/v1/models/champion").json()["id"]
    counted = f'foldhouse_predicted_rows_total{{model="{model_id}"}} 7.0'
    assert counted in client.get("/metrics").text


def test_a_body_above_the_limit_is_refused(tmp_path: Path, sqlite_url: str) -> None:
    settings = Settings(
        data_dir=tmp_path / "data",
        database_url=sqlite_url,
        max_body_bytes=2000,
        max_upload_bytes=4000,
    )
    with serving(settings) as client:
        upload(client)
        text = houses_csv(rows=400)
        responses = [
            client.post("/v1/predict", json={"rows": [ROW] * 100}),
            client.post("/v1/predict", content=text, headers=CSV),
            client.post("/v1/predict", files={"file": text}),
        ]

    limits = ["max_body_bytes, 2000", "max_upload_bytes, 4000", "max_upload_bytes, 4000"]
    for response, limit in zip(responses, limits, strict=True):
        assert response.status_code == 413
        assert limit in response.json()["detail"]
