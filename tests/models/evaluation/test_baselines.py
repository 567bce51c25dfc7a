"""Baselines learn and are scored on the networks' folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from houses import Case, house_frame, lay, score, train

from models.evaluation import baselines
from models.evaluation.scores import Scores
from models.objectives.classification.metrics import Judged, log_losses


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
    found = scores.baselines["majority"]
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
    logistic, majority = (scores.baselines[name]["metrics"]["log_loss"] for name in names)
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
    for found in scores.baselines.values():
        assert 0 < found["metrics"]["log_loss"] < 10


def test_a_slow_baseline_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "MOST_SECONDS", 1e-9)
    _, scores = classes(tmp_path)
    assert "more than" in scores.baselines["logistic_regression"]["skipped"]
    assert "metrics" in scores.baselines["majority"]
    monkeypatch.undo()
    monkeypatch.setattr(baselines, "MOST_BYTES", 1_000)
    _, scores = classes(tmp_path)
    assert "memory" in scores.baselines["logistic_regression"]["skipped"]


def test_numbers_have_none(tmp_path: Path) -> None:
    case = lay(tmp_path, house_frame(), architecture={"type": "linear"}, max_epochs=2)
    assert score(case, train(case)).baselines == {}
