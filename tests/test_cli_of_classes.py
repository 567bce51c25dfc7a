"""The command line about jobs and models of classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import foldhouse_client
import httpx
import pytest
from foldhouse_client import Foldhouse
from typer.testing import CliRunner, Result

from app.cli import cli, display

METRICS = {
    "accuracy": 0.9,
    "balanced_accuracy": 0.88,
    "log_loss": 0.31,
    "brier": 0.2,
    "roc_auc": 0.95,
    "average_precision": None,
    "f1": 0.87,
    "mcc": 0.8,
    "ece": 0.01,
}
FOLD = {
    "fold": 0,
    "rows_train": 800,
    "rows_validation": 200,
    "epochs": 12,
    "stopped_by": "no_mistakes",
    "metrics": METRICS,
}
RESULT: dict[str, Any] = {
    "model_id": "mdl_1",
    "metrics": METRICS,
    "metrics_error": {"log_loss": 0.02},
    "folds": [FOLD],
    "fold_mean": METRICS,
    "fold_std": METRICS,
    "holdout": None,
    "decision": {"positive": "yes", "threshold": 0.35, "by_fold": [0.35]},
    "confusion": {"levels": ["no", "y\x1bes"], "rows": [[1200, 34], [5, 67]], "most_confused": []},
    "baselines": {
        "majority": {"metrics": {"log_loss": 0.7}, "difference": -0.39, "standard_error": 0.01},
        "logistic_regression": {"skipped": "it would take about 90 s, more than 20"},
    },
    "learning_curve": {
        "points": [
            {"rows": 130.67, "error": 0.42, "standard_error": 0.03},
            {"rows": 1045.0, "error": 0.31, "standard_error": 0.02},
        ],
        "law": {"floor": 0.2, "scale": 1.0, "exponent": 0.4},
        "forecast": {"rows": 2090.0, "error": 0.2854, "low": 0.26, "high": 0.311, "coverage": 0.9},
        "skipped": None,
    },
    "perceptron": [{"fold": 0, "summary": "converged: 7 updates in 3 epochs, then none"}],
    "diagnosis": [],
    "warnings": [],
    "seconds": {"total": 1.0},
}


def job(number: int, result: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": f"job_{number}",
        "name": f"job {number}",
        "status": "succeeded" if result else "running",
        "progress": {
            "fraction": 1.0,
            "epoch": 3,
            "max_epochs": 3,
            "folds_total": 5,
            "folds_active": 0,
            "eta_s": None,
        },
        "attempt": 1,
        "created_at": "2026-01-02T03:04:05Z",
        "error": None,
        "result": result,
        "spec": {"k_folds": 5, "seed": number},
    }


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(display.console, "_width", 120)
    return lambda *arguments: CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Request]:
    """The requests; the service has three jobs, and predicts yes."""
    requests: list[httpx.Request] = []
    listed = [
        job(1, {"metrics": {"rmse": 3.0}}),
        job(2, {"metrics": {"log_loss": 0.4, "novelty": 1.0}}),
        job(3, {"metrics": {"log_loss": 0.3, "novelty": 2.0}}),
        job(4, None),
    ]
    answers = {
        "/v1/jobs": {"data": listed, "has_more": False, "next": None},
        "/v1/jobs/latest": job(5, RESULT),
        "/v1/models": {
            "data": [
                {
                    "id": "mdl_1",
                    "target": "sold",
                    "created_at": "2026-01-02T03:04:05Z",
                    "metrics": METRICS,
                    "aliases": [],
                }
            ],
            "has_more": False,
            "next": None,
        },
    }

    def handler(request: httpx.Request) -> httpx.Response:
        request.read()
        requests.append(request)
        if request.url.path == "/v1/predict":
            return httpx.Response(200, text="prediction\nyes\n", headers={"X-Target": "sold"})
        return httpx.Response(200, json=answers[request.url.path])

    transport = httpx.MockTransport(handler)
    monkeypatch.setattr(foldhouse_client, "Foldhouse", partial(Foldhouse, transport=transport))
    return requests


@pytest.mark.usefixtures("asked")
def test_a_job_shows_its_decision_baselines_and_confusion(
    run: Callable[..., Result],
) -> None:
    printed = run("show").output.splitlines()
    [header] = [line for line in printed if line.startswith("fold ")]
    assert header.split()[-3:] == ["accuracy", "balanced_accuracy", "log_loss"]
    assert len(header) <= 80
    assert "Out-of-fold, all rows pooled: accuracy 0.9, balanced_accuracy 0.88" in printed[5]
    assert "log_loss 0.31 ± 0.02" in printed[5]
    assert printed[6:12] == [
        "Baseline logistic_regression was skipped: it would take about 90 s, more than 20",
        "Learning curve: 131 rows 0.42, 1,045 rows 0.31; with 2,090 rows expect 0.2854 (0.26 to "
        "0.311)",
        "yes is predicted from a probability of 0.35",
        "Fold 0: converged: 7 updates in 3 epochs, then none",
        "actual \\ predicted     no  y�es",
        "no                  1,200    34",
    ]


@pytest.mark.usefixtures("asked")
def test_jobs_of_numbers_and_classes_stand_in_one_list(run: Callable[..., Result]) -> None:
    lines = run("jobs").output.splitlines()
    assert "rmse 3" in lines[1]
    assert "log_loss 0.4" in lines[2]
    ids = [line.split()[0] for line in run("jobs", "--sort", "log_loss").output.splitlines()[1:]]
    assert ids == ["job_3", "job_2", "job_1", "job_4"]
    refused = run("jobs", "--sort", "novelty")
    assert refused.exit_code == 2
    assert "this version does not know" in refused.output
    assert "log_loss 0.31" in run("models").output


def test_predict_passes_threshold_and_classes_on(
    run: Callable[..., Result], asked: list[httpx.Request], tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("a\n1\n")
    options = ("--threshold", "0.3", "--classes", "yes", "--classes", "no, thanks")
    assert run("predict", rows, *options).output == "prediction\nyes\n"
    assert asked[0].url.params.multi_items() == [
        ("model", "champion"),
        ("threshold", "0.3"),
        ("classes", "yes"),
        ("classes", "no, thanks"),
    ]
