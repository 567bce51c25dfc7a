"""Out-of-fold and holdout scores of a trained model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from houses import Built, lay, score, train

from models.data.design import Design
from models.export.served import predict
from models.objectives.regression.metrics import fold_metrics, metric_errors, regression_metrics


def by_hand(model: Built, design: Design) -> np.ndarray:
    """(F, n) predictions of each fold's model."""
    with torch.no_grad():
        _, members = model.served(torch.from_numpy(design.numbers), torch.from_numpy(design.codes))
    return np.asarray(members)


def test_every_row_is_predicted_by_the_fold_that_did_not_see_it(houses_model: Built) -> None:
    scores, case = houses_model.scores, houses_model.case
    members = by_hand(houses_model, case.design)
    for fold, rows in enumerate(case.folds):
        assert set(scores.fold_of[rows.validation]) == {fold}
        expected = members[fold, rows.validation]
        np.testing.assert_allclose(scores.out_of_fold[rows.validation], expected, rtol=1e-6)
    assert not np.isnan(scores.out_of_fold).any()
    assert (scores.fold_of >= 0).all()
    assert sorted([*scores.rows, *case.holdout.rows]) == list(range(103))


def test_the_metrics_are_pooled_over_the_out_of_fold_predictions(houses_model: Built) -> None:
    scores, actual = houses_model.scores, houses_model.case.design.target
    found, scored = scores.assessment, scores.fold_of >= 0
    assert found.metrics == regression_metrics(actual[scored], scores.out_of_fold[scored])
    assert found.metrics_error == metric_errors(
        actual[scored], scores.out_of_fold[scored], np.arange(scored.sum())
    )
    assert found.metrics["r2"] is not None
    assert found.metrics["r2"] > 0.5  # it has learnt something, so that the tests mean something


def test_the_summary_of_each_fold(houses_model: Built) -> None:
    scores, case = houses_model.scores, houses_model.case
    variance = float(np.var(case.design.target[scores.fold_of >= 0]))
    for fold, (summary, rows) in enumerate(zip(scores.folds, case.folds, strict=True)):
        course = houses_model.trained.courses[fold]
        assert summary == {
            "fold": fold,
            "rows_train": len(rows.train) + len(rows.watched),
            "rows_validation": len(rows.validation),
            "epochs": course.epochs,
            "best_epoch": course.best_epoch,
            "stopped_by": course.stopped_by,
            "metrics": fold_metrics(
                case.design.target[rows.validation], scores.out_of_fold[rows.validation], variance
            ),
        }


def test_the_holdout_is_scored_by_the_average_of_the_folds(houses_model: Built) -> None:
    scores, case = houses_model.scores, houses_model.case
    actual = case.holdout.target
    members = by_hand(houses_model, case.holdout)
    expected = regression_metrics(actual, np.mean(members, axis=0))
    assert scores.holdout is not None
    assert scores.holdout["rows"] == len(actual) == 10
    assert scores.holdout["metrics"] == {
        name: pytest.approx(value, rel=1e-6) for name, value in expected.items()
    }
    errors = metric_errors(actual, np.mean(members, axis=0), np.arange(10))
    assert scores.holdout["metrics_error"] == {
        name: pytest.approx(value, rel=1e-4) for name, value in errors.items()
    }


@pytest.mark.parametrize("kind", ["shuffled", "group", "time"])
def test_a_right_model_is_right_in_every_fold(kind: str, tmp_path: Path) -> None:
    """A line with noise: within a fold in time, or a group, the target varies little, and its own
    variance would make the fold look unexplained and the model overfitted."""
    rng = np.random.default_rng(4)
    day = np.arange(300)
    frame = pd.DataFrame(
        {"day": day, "month": day // 30, "price": 1e3 + day + rng.normal(0, 9, 300)}
    )
    column = {"group": "month", "time": "day"}.get(kind)
    case = lay(
        tmp_path,
        frame,
        folds={"type": kind, "column": column},
        architecture={"type": "linear"},
        # Nearly a copy of the day: from few rows no slope of both is sure to go on.
        features={"kinds": {"day": "numeric"}, "exclude": ["month"] if kind != "group" else []},
        preprocessing={"numeric_scaling": "standard"},
        max_epochs=80,
        early_stopping=None,
        optimizer={"learning_rate": 0.03},
    )
    scores = score(case, train(case))
    assert {finding["code"] for finding in scores.diagnosis} == {"good_fit"}
    for fold in scores.folds:
        assert fold["metrics"]["r2"] > 0.9  # against its own variance 0.7
    assert scores.result()["fold_mean"]["r2"] == pytest.approx(
        scores.assessment.metrics["r2"], abs=1e-3
    )
    assert scores.assessment.metrics["bias"] == pytest.approx(1.0, abs=0.01)


def test_what_a_model_remembers_is_of_rows_that_folds_saw(houses_model: Built) -> None:
    """Ranges, shares and the background of explanations; a day stands in one row each."""
    manifest, design = houses_model.manifest, houses_model.case.design
    for feature, column in zip(manifest.numeric, design.numbers.T, strict=True):
        assert (feature.low, feature.high) == (np.nanmin(column), np.nanmax(column))
    assert manifest.background is not None
    days = manifest.background.arrays()[0][:, design.numeric.index("sold")]
    assert not set(days) & set(houses_model.case.holdout.numbers[:, design.numeric.index("sold")])


def test_the_result_has_mean_and_deviation_over_folds(houses_model: Built) -> None:
    result = houses_model.scores.result()
    rmse = [fold["metrics"]["rmse"] for fold in result["folds"]]
    assert result["fold_mean"]["rmse"] == pytest.approx(np.mean(rmse))
    assert result["fold_std"]["rmse"] == pytest.approx(np.std(rmse, ddof=1))
    assert {finding["code"] for finding in result["diagnosis"]} <= {
        "good_fit",
        "overfitting",
        "underfitting",
        "stopped_too_soon",
        "capacity_exceeds_data",
        "folds_disagree",
    }
    assert result["diagnosis"]


def test_the_out_of_fold_file(houses_model: Built, tmp_path: Path) -> None:
    scores, actual = houses_model.scores, houses_model.case.design.target
    scores.write_out_of_fold(tmp_path / "oof.parquet")
    table = pd.read_parquet(tmp_path / "oof.parquet")
    assert list(table) == ["row", "fold", "unit", "actual", "prediction", "low", "high"]
    scored = np.flatnonzero(scores.fold_of >= 0)
    assert table["row"].tolist() == scores.rows[scored].tolist()
    assert table["fold"].tolist() == scores.fold_of[scored].tolist()
    assert table["actual"].tolist() == actual[scored].tolist()
    assert table["prediction"].tolist() == scores.out_of_fold[scored].tolist()
    inside = (table["low"] <= table["actual"]) & (table["actual"] <= table["high"])
    (ninety,) = [row for row in scores.assessment.result["intervals"] if row["coverage"] == 0.9]
    assert inside.mean() == ninety["measured"]


def test_chunks_make_no_difference(houses_model: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    design = houses_model.case.design
    whole = predict(houses_model.served, design.numbers, design.codes).values
    monkeypatch.setattr("models.export.served.CHUNK_ROWS", 7)
    parts = predict(houses_model.served, design.numbers, design.codes).values
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    assert predict(houses_model.served, design.numbers[:0], design.codes[:0]).values.shape == (0,)
