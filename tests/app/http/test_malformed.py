"""What users get wrong: each answer is a problem document that names the row, column or field,
and the next good request works."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import serving, train

from app.errors import PROBLEM_MEDIA_TYPE
from app.settings import Settings
from app.storage.migrate import upgrade

JSON = {"Content-Type": "application/json"}
CSV = {"Content-Type": "text/csv"}
GZIP = {"Content-Encoding": "gzip"}
SPEC = {"dataset_id": "latest", "target": "Price"}
GOOD_ROW = {"Area": 100, "Quality": 3, "Zone": "south"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("malformed")
    settings = Settings(data_dir=folder, max_body_bytes=2_000_000)
    upgrade(settings.resolved_database_url)
    with serving(settings) as client:
        train(client, folder / "model")
        yield client


def check(client: TestClient, response: Any, named: int | str) -> None:
    """`named`: a row's number, or words that stand in a pointer, a column or a detail."""
    assert 400 <= response.status_code < 500, response.text
    assert response.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance", "errors"}
    assert problem["status"] == response.status_code
    faults = problem["errors"]
    if isinstance(named, int):
        assert named in [fault.get("row") for fault in faults]
    else:
        texts = [fault.get(key, "") for fault in faults for key in ("pointer", "column", "detail")]
        assert any(named in text for text in [problem["detail"], *texts]), problem
    assert client.post("/v1/predict", json={"rows": [GOOD_ROW]}).status_code == 200


TABLES: dict[str, tuple[bytes, int | str]] = {
    "nothing": (b"", "empty"),
    "blank lines": (b"\n\n\n", "empty"),
    "a header alone": (b"a,b\n", "no rows"),
    "a short row": (b"a,b\n1,2\n3\n", 2),
    "a long row": (b"a,b\n1,2,3\n", 1),
    "a name twice": (b"a,b,a\n1,2,3\n", "a"),
    "a column without a name": (b"a,,c\n1,2,3\n", "Column 2 has no name"),
    "latin-1 cells": ("name,b\nMüller,2\n".encode("latin-1"), "name"),
    "a latin-1 header": ("größe,b\n1,2\n".encode("latin-1"), "UTF-8"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    "a NUL byte": (b"a,b\n1,2\x00\n", "b"),
    "a quote that never closes": (b'a,b\n1,"2\n3,4\n', "quote"),
    "a zip archive": (b"PK\x03\x04" + b"\x00" * 60, "zip"),
    "a Parquet file": (b"PAR1\x15\x04" + b"\x00" * 60, "Parquet"),
    "a gzip archive": (b"\x1f\x8b\x08" + b"\x00" * 60, "gzip"),
    "a PDF": (b"%PDF-1.7\n...", "PDF"),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables(client: TestClient, case: str) -> None:
    content, named = TABLES[case]

    check(client, client.post("/v1/datasets", content=content, headers=CSV), named)
    check(client, client.post("/v1/datasets", files={"file": ("a.csv", content)}), named)
    check(client, client.post("/v1/predict", content=content, headers=CSV), named)


BODIES: dict[str, tuple[bytes, str]] = {
    "half an object": (b'{"rows": [{"Area": 1}], ', "not JSON"),
    "words": (b"hello", "not JSON"),
    "not UTF-8": (b'{"name": "\xff"}', "not JSON"),
    "half a character": (b'{"name": "\\ud800"}', "not JSON"),
    "endless nesting": (b"[" * 100_000, "recursion"),
    "an endless number": (b'{"seed": ' + b"9" * 100_000 + b"}", "number"),
    "a list": (b"[]", "must be"),
    "null": (b"null", "must be"),
}


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs:validate", "/v1/predict"])
@pytest.mark.parametrize("case", BODIES)
def test_bodies(client: TestClient, path: str, case: str) -> None:
    content, named = BODIES[case]

    check(client, client.post(path, content=content, headers=JSON), named)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_numbers_that_json_has_not(client: TestClient, number: bytes) -> None:
    spec = b'{"dataset_id": "latest", "target": "Price", "dropout": %s}' % number
    row = b'{"rows": [{"Area": %s}]}' % number

    named = "/dropout" if number == b"1e999" else "not JSON"
    check(client, client.post("/v1/jobs", content=spec, headers=JSON), named)
    check(client, client.post("/v1/predict", content=row, headers=JSON), "/rows/0/Area")


SPECS: dict[str, tuple[dict[str, Any], str]] = {
    "no dataset": ({"dataset_id": None}, "/dataset_id"),
    "another dataset": ({"dataset_id": "ds_none"}, "/dataset_id"),
    "no id at all": ({"dataset_id": "../../etc/passwd"}, "/dataset_id"),
    "no target": ({"target": None}, "/target"),
    "an empty target": ({"target": ""}, "/target"),
    "an absent target": ({"target": "Prize"}, "/target"),
    "a number of words": ({"target": "Zone", "task": "regression"}, "/target"),
    "a task that is not there": ({"task": "ranking"}, "/task"),
    "a loss of numbers for classes": ({"target": "Zone", "loss": "huber"}, "/loss"),
    "a loss of classes for a number": ({"loss": "hinge"}, "/loss"),
    "a class that is not there": (
        {"target": "Zone", "decision": {"positive": "east"}},
        "/decision/positive",
    ),
    "a weight of no class": (
        {"target": "Zone", "class_weights": {"east": 2}},
        "/class_weights/east",
    ),
    "a weight of nothing": (
        {"target": "Zone", "class_weights": {"south": 0}},
        "/class_weights/south",
    ),
    "too few rows of a class": (
        {"target": "Quality", "task": "classification", "k_folds": 20},
        "/target",
    ),
    "a name with a NUL": ({"name": "a\0b"}, "/name"),
    "an endless name": ({"name": "x" * 1000}, "/name"),
    "an unknown field": ({"epochs": 3}, "/epochs"),
    "an unknown nested field": ({"optimizer": {"beta": 0.9}}, "/optimizer/beta"),
    "dropout of a half of text": ({"dropout": "half"}, "/dropout"),
    "negative dropout": ({"dropout": -0.1}, "/dropout"),
    "endless weight decay": ({"weight_decay": 1e300}, "/weight_decay"),
    "short and long name": ({"wd": 1, "weight_decay": 1}, "'wd' is short for 'weight_decay'"),
    "a short name out of range": ({"k": 1}, "/k"),
    "more folds than rows": ({"k_folds": 40}, "/k_folds"),
    "half a fold": ({"k_folds": 2.5}, "/k_folds"),
    "no learning": ({"optimizer": {"lr": 0}}, "/optimizer/lr"),
    "another optimizer": ({"optimizer": {"name": "adamm"}}, "/optimizer/name"),
    "an optimizer of text": ({"optimizer": "adam"}, "/optimizer"),
    "another architecture": ({"architecture": {"type": "forest"}}, "/architecture/type"),
    "no type": ({"architecture": {"hidden_sizes": [8]}}, "/architecture"),
    "no units": (
        {"architecture": {"type": "mlp", "hidden_sizes": [8, 0]}},
        "/architecture/hidden_sizes/1",
    ),
    "no layers": ({"architecture": {"type": "mlp", "hidden_sizes": []}}, "hidden_sizes"),
    "another activation": (
        {"architecture": {"type": "mlp", "activation": "sin"}},
        "/architecture/activation",
    ),
    "no members": ({"members_per_fold": 0}, "/members_per_fold"),
    "another loss": ({"loss": "hinge"}, "/loss"),
    "an absent exclusion": ({"features": {"exclude": ["Id", "Idd"]}}, "/features/exclude/1"),
    "words as numbers": ({"features": {"kinds": {"Zone": "numeric"}}}, "/features/kinds/Zone"),
    "another kind": ({"features": {"kinds": {"Area": "text"}}}, "/features/kinds/Area"),
    "one coordinate": ({"features": {"coordinates": ["Area"]}}, "/features/coordinates"),
    "coordinates of words": ({"features": {"coordinates": ["Area", "Zone"]}}, "/coordinates/1"),
    "coordinates by number": ({"features": {"coordinates": [1, 2]}}, "two column names"),
    "another rule": (
        {"architecture": {"type": "linear", "initialization": None}},
        "xavier_uniform",
    ),
    "a pointer's own signs": ({"features": {"kinds": {"a/~b": "numeric"}}}, "a~1~0b"),
    "groups without a column": ({"folds": {"type": "group"}}, "/folds"),
    "groups of an absent column": ({"folds": {"type": "group", "column": "x"}}, "/folds/column"),
    "batches of a row, normalised": (
        {"architecture": {"type": "resnet"}, "batch_size": 1},
        "/batch_size",
    ),
    "too many layers": (
        {"architecture": {"type": "mlp", "hidden_sizes": [1] * 17}},
        "must have at most 16 items",
    ),
    "a whole holdout": ({"holdout": {"fraction": 1}}, "/holdout/fraction"),
    "no patience": ({"early_stopping": {"patience": 0}}, "/early_stopping/patience"),
    "a huge seed": ({"seed": 2**64}, "/seed"),
    "endless epochs": ({"max_epochs": 10**6}, "/max_epochs"),
}


@pytest.mark.parametrize("case", SPECS)
def test_specs(client: TestClient, case: str) -> None:
    change, named = SPECS[case]
    body = {name: value for name, value in (SPEC | change).items() if value is not None}

    for path in ("/v1/jobs:validate", "/v1/jobs"):
        check(client, client.post(path, json=body), named)
    assert len(client.get("/v1/jobs").json()["data"]) == 1


def test_a_huge_spec_is_not_checked(client: TestClient) -> None:
    response = client.post("/v1/jobs", json=SPEC | {"features": {"exclude": [1] * 200_000}})

    assert response.status_code == 413
    assert "262144 bytes" in response.json()["detail"]


def test_an_answer_names_a_hundred_fields_at_most(client: TestClient) -> None:
    unknown = {f"field{place}": 1 for place in range(1000)}
    response = client.post("/v1/jobs", json=SPEC | unknown)

    assert response.status_code == 422
    assert len(response.json()["errors"]) == 100


ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "no rows": ({}, "/rows"),
    "an empty list": ({"rows": []}, "/rows"),
    "a row alone": ({"rows": GOOD_ROW}, "/rows"),
    "a list for a row": ({"rows": [GOOD_ROW, [1, 2]]}, "/rows/1"),
    "a list for a cell": ({"rows": [{"Area": [1]}]}, "/rows/0/Area"),
    "an object for a cell": ({"rows": [GOOD_ROW, {"Zone": {"a": 1}}]}, "/rows/1/Zone"),
    "a coverage of all": ({"rows": [GOOD_ROW], "coverage": 1}, "/coverage"),
    "a coverage in per cent": ({"rows": [GOOD_ROW], "coverage": 90}, "/coverage"),
    "another on_unknown": ({"rows": [GOOD_ROW], "on_unknown": "ignore"}, "/on_unknown"),
    "an unknown field": ({"rows": [GOOD_ROW], "row": 1}, "/row"),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows(client: TestClient, case: str) -> None:
    body, named = ROWS[case]

    check(client, client.post("/v1/predict", json=body), named)


REQUESTS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "a column that cannot pass through": (
        "POST",
        "/v1/predict?passthrough=Idd",
        {"content": b"Id,Area\n1,2\n", "headers": CSV},
        "Idd",
    ),
    "an unknown answer column": (
        "POST",
        "/v1/predict?columns=price",
        {"content": b"Id,Area\n1,2\n", "headers": CSV},
        "price",
    ),
    "a layout of JSON": (
        "POST",
        "/v1/predict?passthrough=Area",
        {"json": {"rows": [GOOD_ROW]}},
        "Accept: text/csv",
    ),
    "a form without a file": ("POST", "/v1/predict", {"files": {"fil": "a,b\n1,2\n"}}, "file"),
    "rows as XML": (
        "POST",
        "/v1/predict",
        {"content": b"<rows/>", "headers": {"Content-Type": "text/xml"}},
        "text/xml",
    ),
    "compressed rows": (
        "POST",
        "/v1/predict",
        {"content": gzip.compress(b"Area\n1\n"), "headers": {**CSV, **GZIP}},
        "Content-Encoding is gzip",
    ),
    "a compressed table": (
        "POST",
        "/v1/datasets",
        {"content": gzip.compress(b"a,b\n1,2\n"), "headers": {**CSV, **GZIP}},
        "Content-Encoding is gzip",
    ),
    "a compressed spec": (
        "POST",
        "/v1/jobs",
        {"content": gzip.compress(b"{}"), "headers": {**JSON, **GZIP}},
        "Content-Encoding is gzip",
    ),
    "a column of the answer twice": (
        "POST",
        "/v1/predict?columns=prediction,low,prediction",
        {"content": b"Area\n1\n", "headers": CSV},
        "occurs twice",
    ),
    "a column passed through twice": (
        "POST",
        "/v1/predict?passthrough=Area&passthrough=Area",
        {"content": b"Area\n1\n", "headers": CSV},
        "occurs twice",
    ),
    "prices by a bound's name": (
        "POST",
        "/v1/predict?name=low",
        {"content": b"Area\n1\n", "headers": CSV},
        "occurs twice",
    ),
    "a misspelt parameter": (
        "POST",
        "/v1/predict?coverge=0.9",
        {"json": {"rows": [GOOD_ROW]}},
        "'coverge' is unknown: did you mean 'coverage'?",
    ),
    "a target twice": (
        "POST",
        "/v1/jobs:validate",
        {
            "content": b'{"target": "Price", "dataset_id": "latest", "target": "Area"}',
            "headers": JSON,
        },
        "/target occurs twice",
    ),
    "a media type in latin-1": (
        "POST",
        "/v1/predict",
        {"content": b"Area\n1\n", "headers": {"Content-Type": b"t\xe9xt/csv"}},
        "xt/csv",
    ),
    "a spec as a form": ("POST", "/v1/jobs", {"data": {"target": "Price"}}, "application/json"),
    "another model": ("POST", "/v1/predict?model=nobody", {"json": {"rows": [GOOD_ROW]}}, "nobody"),
    "a model's id with a NUL": ("GET", "/v1/models/a%00b", {}, "model_id"),
    "a page of too many": ("GET", "/v1/jobs?limit=1000", {}, "limit"),
    "a page of words": ("GET", "/v1/jobs?limit=many", {}, "limit"),
    "an unknown state": ("GET", "/v1/jobs?status=done", {}, "status"),
    "an endless key": (
        "POST",
        "/v1/jobs",
        {"json": SPEC, "headers": {"Idempotency-Key": "k" * 300}},
        "Idempotency-Key",
    ),
    "another export": ("GET", "/v1/models/champion/export?format=pickle", {}, "format"),
    "an unknown path": ("GET", "/v3/jobs", {}, "/v3/jobs"),
    "another method": ("PATCH", "/v1/jobs/latest", {}, "PATCH"),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_requests(client: TestClient, case: str) -> None:
    method, path, request, named = REQUESTS[case]

    check(client, client.request(method, path, **request), named)


def test_a_separator_settles_rows_that_two_fit(client: TestClient) -> None:
    rows = "Area, m2;Quality;Area\n1,0;3;100\n"
    check(client, client.post("/v1/predict", content=rows, headers=CSV), "?separator=;")
    priced = client.post("/v1/predict?separator=;", content=rows, headers=CSV)
    same = client.post("/v1/predict", json={"rows": [{"Quality": 3, "Area": 100}]}).json()
    price = float(priced.text.splitlines()[1].split(",")[0])
    assert price == pytest.approx(same["predictions"][0]["value"])
