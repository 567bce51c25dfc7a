"""Results and out-of-fold predictions of jobs that predict classes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pytest
from classes import ANSWERS, let_model
from fastapi.testclient import TestClient
from house_api import registered, serving, train

from app.jobs.results import ResultOut
from app.settings import Settings
from app.storage.migrate import upgrade

OWN = {"classes", "confusion", "decision", "calibration", "sets", "perceptron", "baselines"}
PERCEPTRON = {
    "fold": 0,
    "updates": 12,
    "epochs": 3,
    "converged": True,
    "margin": 0.5,
    "radius": 2.0,
    "bound": 16.0,
    "summary": "converged",
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The application after a job of a price and one of no and yes."""
    folder = tmp_path_factory.mktemp("jobs")
    settings = Settings(data_dir=folder)
    upgrade(settings.resolved_database_url)
    with serving(settings) as client:
        train(client, folder / "price")
        registered(client, let_model(), folder / "let", reported())
        yield client


def reported() -> dict[str, Any]:
    result = let_model().scores.result()
    fold = {**result["folds"][0], "stopped_by": "no_mistakes"}
    return {
        **result,
        "folds": [fold, *result["folds"][1:]],
        "perceptron": [PERCEPTRON],
        "baselines": {
            "majority": {
                "metrics": {"log_loss": 0.7},
                "difference": -0.3,
                "standard_error": 0.1,
                "seconds": 0.2,
            },
            "logistic_regression": {"skipped": "it would take about 90 s"},
        },
        "seconds": {"total": 1.0},
        "receipt": {},
    }


def test_a_result_has_all_that_the_objective_reports(client: TestClient) -> None:
    result = client.get("/v1/jobs/latest").json()["result"]
    expected = reported()
    assert {*result} >= OWN
    for name in OWN | {"metrics", "metrics_error", "folds", "holdout"}:
        same = expected[name]
        if name == "holdout":
            same = {**same, "intervals": []}
        assert result[name] == same, name
    assert result["folds"][0]["stopped_by"] == "no_mistakes"
    assert result["holdout"]["sets"][0]["coverage"] == 0.5
    assert result["decision"]["positive"] == "yes"
    assert result["intervals"] is None


def test_a_result_of_numbers_has_none_of_it(client: TestClient) -> None:
    jobs = client.get("/v1/jobs").json()["data"]
    [price] = [job for job in jobs if job["target"] == "Price"]
    assert not {*price["result"]} & OWN
    assert {*ResultOut.model_fields} >= OWN


def test_out_of_fold_predictions_have_words_and_probabilities(client: TestClient) -> None:
    rows = client.get("/v1/jobs/latest/oof").json()["data"]
    text = client.get("/v1/jobs/latest/oof", headers={"Accept": "text/csv"}).text
    lines = list(csv.DictReader(io.StringIO(text)))
    columns = ["row", "fold", "actual", "prediction", "probability", "p(no)", "p(yes)"]
    assert [*rows[0]] == [*lines[0]] == columns
    assert len(rows) == len(let_model().case.design)
    thresholds = reported()["decision"]["by_fold"]
    for row, line in zip(rows, lines, strict=True):
        assert row["prediction"] == ANSWERS[row["p(yes)"] >= thresholds[row["fold"]]]
        assert row["probability"] == row[f"p({row['prediction']})"]
        assert row["p(no)"] + row["p(yes)"] == pytest.approx(1)
        assert row["actual"] in ANSWERS
        assert line == {name: str(cell) for name, cell in row.items()}


def test_counts_follow_from_the_out_of_fold_rows(client: TestClient) -> None:
    result = client.get("/v1/jobs/latest").json()["result"]
    rows = client.get("/v1/jobs/latest/oof").json()["data"]
    pairs = [(row["actual"], row["prediction"]) for row in rows]
    counted = [[pairs.count((actual, said)) for said in ANSWERS] for actual in ANSWERS]
    assert result["confusion"]["rows"] == counted
    assert result["confusion"]["levels"] == [*ANSWERS]


def test_the_schema_describes_what_only_classes_have(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert {*schemas["ResultOut"]["properties"]} >= OWN
    assert not {*schemas["ResultOut"]["required"]} & OWN
