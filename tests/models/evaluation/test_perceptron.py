"""What a perceptron reports: its mistakes, its margin and Novikoff's bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from houses import Case, lay, score, train

FOLDS = 3


def separated(rows: int = 60, classes: int = 2, gap: float = 0.1) -> pd.DataFrame:
    """Points on either side of a line, or in sectors around the middle, with a gap between."""
    chance = np.random.default_rng(0)
    x = chance.normal(size=(20 * rows, 2))
    turn = (np.arctan2(x[:, 1], x[:, 0]) / (2 * np.pi)) % 1 * classes
    away = np.abs(turn - np.round(turn)) * 2 * np.pi / classes * np.linalg.norm(x, axis=1)
    kept = np.flatnonzero(away > gap)[:rows]
    words = np.array(["a", "b", "c"])[turn[kept].astype(int)]
    return pd.DataFrame(x[kept], columns=["x", "y"]).assign(price=words)


def mixed(rows: int = 60) -> pd.DataFrame:
    frame = separated(rows)
    frame["price"] = np.random.default_rng(1).permutation(frame["price"])
    return frame


def reported(folder: Path, frame: pd.DataFrame, **spec: Any) -> tuple[Case, list[dict[str, Any]]]:
    given = {"k_folds": FOLDS, "preprocessing": {"numeric_scaling": "none"}} | spec
    case = lay(folder, frame, architecture={"type": "perceptron"}, **given)
    result = score(case, train(case)).result()
    rows: list[dict[str, Any]] = result["perceptron"]
    return case, rows


def test_separated_rows_converge_within_novikoff_s_bound(tmp_path: Path) -> None:
    case, rows = reported(tmp_path, separated())
    assert [row["fold"] for row in rows] == [*range(FOLDS)]
    for row in rows:
        assert row["converged"]
        assert row["margin"] > 0
        assert 0 < row["updates"] <= row["bound"]
        assert row["bound"] == pytest.approx((row["radius"] / row["margin"]) ** 2)
        own = case.folds[row["fold"]].train
        x = np.column_stack([case.design.numbers[own], np.ones(len(own))])
        assert row["radius"] == pytest.approx(np.linalg.norm(x, axis=1).max(), rel=1e-6)
        assert f"{row['updates']:,} updates in {row['epochs']:,} epochs" in row["summary"]
        assert row["summary"].startswith("converged")


def test_the_margin_is_that_of_the_last_weights(tmp_path: Path) -> None:
    case, rows = reported(tmp_path, separated())
    [layer] = train(case).network.linear_layers()
    for fold, row in enumerate(rows):
        weights = np.concatenate([layer.weight[fold].detach(), layer.bias[fold].detach()])
        w = weights[:, 1] - weights[:, 0]
        own = case.folds[fold].train
        x = np.column_stack([case.design.numbers[own], np.ones(len(own))])
        y = 2 * case.design.target[own] - 1
        expected = (y * (x @ w)).min() / np.linalg.norm(w)
        assert row["margin"] == pytest.approx(expected, rel=1e-4)


def test_three_classes_converge_too(tmp_path: Path) -> None:
    _, rows = reported(tmp_path, separated(classes=3))
    for row in rows:
        assert row["converged"]
        assert 0 < row["updates"] <= row["bound"]


def test_rows_that_no_plane_separates_do_not_converge(tmp_path: Path) -> None:
    _, rows = reported(tmp_path, mixed(), max_epochs=20)
    for row in rows:
        assert (row["converged"], row["epochs"]) == (False, 20)
        assert row["margin"] < 0
        assert row["bound"] is None
        assert row["updates"] > 20
        assert "wrong side" in row["summary"]


def test_too_few_epochs_are_no_convergence(tmp_path: Path) -> None:
    _, rows = reported(tmp_path, separated(gap=0.02), max_epochs=1)
    assert not any(row["converged"] for row in rows)
    assert all(row["summary"].startswith("not converged") for row in rows)


def test_each_member_of_a_fold_has_a_row(tmp_path: Path) -> None:
    _, rows = reported(tmp_path, separated(), members_per_fold=2)
    assert [row["fold"] for row in rows] == [0, 0, 1, 1, 2, 2]


def test_other_models_have_no_such_report(tmp_path: Path) -> None:
    case = lay(tmp_path, separated(), architecture={"type": "linear"}, k_folds=FOLDS, max_epochs=2)
    assert "perceptron" not in score(case, train(case)).result()
