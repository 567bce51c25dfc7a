"""Baselines learn and are scored on the networks' folds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from houses import Case, house_frame, lay, score, train
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from models.evaluation import baselines
from models.evaluation.scores import Scores
from models.objectives.classification.metrics import Judged, log_losses
from models.objectives.regression.leave_one_out import PENALTIES


def baselines_of(scores: Scores) -> dict[str, Any]:
    return scores.comparison.result()


def classes(folder: Path, rows: int = 120, **spec: Any) -> tuple[Case, Scores]:
    frame = house_frame(rows)
    frame["price"] = pd.qcut(frame["price"], [0, 0.3, 0.8, 1], labels=["a", "b", "c"])
    given = {"architecture": {"type": "mlp", "hidden_sizes": [8]}, "max_epochs": 4} | spec
    case = lay(folder, frame, **given)
    return case, score(case, train(case))


@pytest.mark.parametrize("watched", [None, {"fraction": 0.3}])
def test_the_majority_learns_from_all_training_rows(
    tmp_path: Path, watched: dict[str, Any] | None
) -> None:
    """Also from those that early stopping watches."""
    case, scores = classes(tmp_path, early_stopping=watched)
    found = baselines_of(scores)["majority"]
    expected = np.empty((len(case.design), 3))
    for fold in case.folds:
        known = case.design.target[np.concatenate([fold.train, fold.watched])]
        rows = np.bincount(known.astype(int), minlength=3) + 0.5
        expected[fold.validation] = rows / rows.sum()
    actual = case.design.target.astype(int)
    judged = Judged(actual, expected, expected.argmax(1), None).metrics()
    assert found["metrics"] == {name: pytest.approx(value) for name, value in judged.items()}
    losses = log_losses(actual, scores.out_of_fold) - log_losses(actual, expected)
    assert found["difference"] == pytest.approx(losses.mean())
    assert found["standard_error"] == pytest.approx(losses.std(ddof=1) / np.sqrt(120), rel=1e-6)


def test_logistic_regression_is_better_where_lines_are_right(tmp_path: Path) -> None:
    _, scores = classes(tmp_path, 300)
    names = ("logistic_regression", "majority")
    logistic, majority = (baselines_of(scores)[name]["metrics"]["log_loss"] for name in names)
    assert logistic < majority - 0.3


def test_a_fold_that_lacks_a_class_has_baselines(tmp_path: Path) -> None:
    """In time, a class may begin late."""
    frame = house_frame(90)
    frame["price"] = np.where(np.arange(90) < 50, "old", np.where(np.arange(90) % 2, "new", "old"))
    case = lay(
        tmp_path,
        frame,
        folds={"type": "time", "column": "sold"},
        k_folds=3,
        architecture={"type": "mlp", "hidden_sizes": [4]},
        max_epochs=2,
    )
    scores = score(case, train(case))
    for found in baselines_of(scores).values():
        assert 0 < found["metrics"]["log_loss"] < 10


def test_a_slow_baseline_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "MOST_SECONDS", 1e-9)
    _, scores = classes(tmp_path)
    assert "more than" in baselines_of(scores)["logistic_regression"]["skipped"]
    assert "metrics" in baselines_of(scores)["majority"]
    monkeypatch.undo()
    monkeypatch.setattr(baselines, "MOST_BYTES", 1_000)
    _, scores = classes(tmp_path)
    assert "memory" in baselines_of(scores)["logistic_regression"]["skipped"]


def of_numbers(folder: Path, rows: int = 150, **spec: Any) -> tuple[Case, Scores]:
    given: dict[str, Any] = {
        "architecture": {"type": "mlp", "hidden_sizes": [8]},
        "preprocessing": {"target_transform": "log"},
        "max_epochs": 4,
    }
    case = lay(folder, house_frame(rows), **(given | spec))
    return case, score(case, train(case))


def by_fold(case: Case, model: Callable[[], Any], *, encoded: bool) -> np.ndarray:
    """Out of fold, of a regressor of scikit-learn's that learns the logarithm."""
    design = case.design
    numbers = pd.DataFrame(design.numbers, columns=design.numeric)
    words = pd.DataFrame(design.codes, columns=[known.name for known in design.categorical])
    cells = pd.concat([numbers, words], axis=1)
    found = np.empty(len(design))
    for fold in case.folds:
        known = np.concatenate([fold.train, fold.watched])
        if encoded:
            gaps = make_pipeline(StandardScaler(), SimpleImputer())
            levels = OneHotEncoder(
                categories=[np.arange(own.unknown) for own in design.categorical],
                handle_unknown="ignore",
            )
            given = ColumnTransformer(
                [("numbers", gaps, design.numeric), ("words", levels, list(words))],
                sparse_threshold=0,
            ).fit(cells.iloc[known])
            x = given.transform(cells)
        else:
            x = cells.to_numpy()
        fitted = model().fit(x[known], np.log(design.target[known]))
        found[fold.validation] = np.exp(fitted.predict(x[fold.validation]))
    return found


def test_numbers_have_scikit_learns(tmp_path: Path) -> None:
    case, scores = of_numbers(tmp_path, early_stopping={"fraction": 0.2})
    words = [False] * len(case.design.numeric) + [True] * len(case.design.categorical)
    expected = {
        "mean": by_fold(case, DummyRegressor, encoded=False),
        "ridge": by_fold(case, lambda: RidgeCV(PENALTIES), encoded=True),
        "boosting": by_fold(
            case,
            lambda: HistGradientBoostingRegressor(categorical_features=words),
            encoded=False,
        ),
    }
    actual = case.design.target
    for name, predicted in expected.items():
        metrics = baselines_of(scores)[name]["metrics"]
        rmse = np.sqrt(np.mean((actual - predicted) ** 2))
        assert metrics["rmse"] == pytest.approx(rmse, rel=1e-6), name
        assert metrics["mae"] == pytest.approx(np.abs(actual - predicted).mean(), rel=1e-6), name


def test_the_share_by_which_the_networks_are_better(tmp_path: Path) -> None:
    case, scores = of_numbers(tmp_path)
    own = (np.log(case.design.target) - np.log(scores.out_of_fold)) ** 2
    found = baselines_of(scores)["ridge"]
    other = scores.comparison.errors["ridge"]
    assert found["better_by"] == pytest.approx(1 - np.sqrt(own.mean() / other.mean()))
    assert found["difference"] == pytest.approx(np.sqrt(own.mean()) - np.sqrt(other.mean()))
    assert list(baselines_of(scores)) == ["mean", "ridge", "boosting"]


def test_a_spec_chooses_its_baselines(tmp_path: Path) -> None:
    _, scores = of_numbers(tmp_path, baselines=[])
    assert baselines_of(scores) == {}
    assert scores.comparison.sentence() is None
    _, scores = of_numbers(tmp_path, baselines=["ridge"])
    assert list(baselines_of(scores)) == ["ridge"]


@pytest.mark.parametrize("cell", [1e308, np.nan], ids=["huge", "missing"])
def test_hostile_cells_leave_a_baseline_out_at_most(tmp_path: Path, cell: float) -> None:
    frame = house_frame(90)
    frame["stars"] = np.where(np.arange(90) % 2, cell, frame["stars"])
    case = lay(tmp_path, frame, architecture={"type": "linear"}, max_epochs=2)
    for found in baselines_of(score(case, train(case))).values():
        assert np.isfinite(found["metrics"]["rmse"]) or "it failed" in found["skipped"]
