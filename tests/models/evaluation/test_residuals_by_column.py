"""Columns that the residuals follow are named, following the advice helps, and healthy tables have
none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from houses import lay, score

from models.evaluation.diagnosis.columns import between
from models.evaluation.diagnosis.findings import Finding
from models.evaluation.scores import Scores
from models.training.progress import Monitor
from models.training.runs import train_many

LINE = {"architecture": {"type": "ridge"}}
# Three units cannot keep what each of many levels says.
NARROW = {
    "architecture": {"type": "mlp", "hidden_sizes": [3]},
    "max_epochs": 60,
    "early_stopping": None,
    "optimizer": {"schedule": "cosine"},
}
LEVELS = 40


def plain(rows: int, seed: int) -> pd.DataFrame:
    """A straight target with some noise; `price` is the target."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, 4)), columns=["area", "age", "rooms", "garden"])
    frame["street"] = [f"s{level}" for level in rng.integers(0, LEVELS, rows)]
    frame["sold"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.permutation(rows), "D")
    frame["price"] = frame["area"] - 0.5 * frame["age"] + 0.5 * rng.normal(size=rows)
    return frame


def bent(rows: int = 400) -> pd.DataFrame:
    frame = plain(rows, 1)
    return frame.assign(price=frame["price"] + np.abs(frame["rooms"]))


def crossed(rows: int = 400) -> pd.DataFrame:
    frame = plain(rows, 2)
    return frame.assign(price=frame["price"] + 0.7 * frame["age"] * frame["rooms"])


def by_street(rows: int = 800) -> pd.DataFrame:
    frame = plain(rows, 3)
    worth = 1.5 * np.random.default_rng(4).normal(size=LEVELS)
    return frame.assign(price=frame["price"] + worth[frame["street"].str[1:].astype(int)])


def diagnosed(folder: Path, frame: pd.DataFrame, **spec: Any) -> Scores:
    case = lay(folder, frame, **{"k_folds": 3, "baselines": [], **spec})
    (trained,) = train_many(
        [case.spec], case.design, case.folds, device=torch.device("cpu"), monitor=Monitor(), cores=1
    )
    return score(case, trained)


def first(scores: Scores) -> Finding:
    return scores.diagnosis[0]


def error(scores: Scores) -> float:
    return float(scores.assessment.metrics["rmse"] or np.inf)


@pytest.mark.parametrize(
    ("frame", "spec", "code", "told"),
    [
        (bent(), LINE, "residuals_follow_number", "rooms explains"),
        (crossed(), LINE, "residuals_follow_pair", "age × rooms explains"),
        (by_street(), NARROW, "residuals_follow_levels", "street explains"),
    ],
)
def test_a_column_that_explains_the_residuals(
    tmp_path: Path, frame: pd.DataFrame, spec: dict[str, Any], code: str, told: str
) -> None:
    scores = diagnosed(tmp_path, frame, **spec)
    finding = first(scores)
    assert (finding["code"], finding["asks"]) == (code, "change")
    assert told in finding["evidence"]
    assert finding["next_spec"] is not None
    cured = diagnosed(tmp_path, frame, **{"effort": "quick", **finding["next_spec"]})
    assert error(cured) < 0.95 * error(scores)


@pytest.mark.parametrize("seed", range(10))
def test_healthy_tables_have_none(tmp_path: Path, seed: int) -> None:
    """Also with heavy tails, noise that grows with a column, and skewed noise."""
    frame = plain(150 + 100 * seed, 10 + seed)
    rng = np.random.default_rng(seed)
    noise = [
        rng.standard_t(3, len(frame)),
        np.abs(frame["garden"]) * rng.normal(size=len(frame)),
        rng.exponential(size=len(frame)),
    ][seed % 3]
    frame["price"] += noise
    codes = [finding["code"] for finding in diagnosed(tmp_path, frame, **LINE).diagnosis]
    assert not [code for code in codes if code.startswith("residuals_follow")]


def test_what_parts_explain() -> None:
    parts = np.repeat([3, 7, 9], 50)
    noise = np.random.default_rng(0).normal(size=150)
    share, chance = between(noise, parts)
    assert share < 0.1
    assert chance > 0.01
    share, chance = between(noise + parts, parts)
    assert share > 0.8
    assert chance < 1e-20
    assert between(np.ones(150), parts) == (0.0, 1.0)
    assert between(noise, np.zeros(150, int)) == (0.0, 1.0)
