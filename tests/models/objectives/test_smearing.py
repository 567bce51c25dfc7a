"""Predictions of the mean of a skewed target: totals come out right, and intervals hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from houses import Case, lay, score, train

from models.objectives.regression.scale import TargetScale
from models.objectives.regression.smearing import smear
from models.spec import TrainingSpec

SIGMA = 1.0


def skewed(folder: Path, rows: int = 1_500, **preprocessing: str) -> Case:
    chance = np.random.default_rng(1)
    a, b = chance.normal(size=(2, rows))
    price = np.exp(8 + 0.5 * a + 0.3 * b + SIGMA * chance.normal(size=rows))
    return lay(
        folder,
        pd.DataFrame({"a": a, "b": b, "price": price}),
        architecture={"type": "linear"},
        preprocessing={"numeric_scaling": "standard", "target_transform": "log"} | preprocessing,
        max_epochs=5,
        optimizer={"learning_rate": 0.02},
    )


def test_totals_are_those_of_the_truth_and_intervals_hold(tmp_path: Path) -> None:
    ratios, measured = {}, {}
    for retransform in ("median", "mean"):
        case = skewed(tmp_path, retransform=retransform)
        found = score(case, train(case))
        ratios[retransform] = found.out_of_fold.sum() / case.design.target.sum()
        measured[retransform] = found.assessment.result["intervals"][2]["measured"]
    # Of the errors of 1,500 rows alone, a ratio deviates by 3.4 %.
    assert ratios["median"] == pytest.approx(np.exp(-(SIGMA**2) / 2), rel=0.07)
    assert ratios["mean"] == pytest.approx(1, abs=0.07)
    assert ratios["mean"] / ratios["median"] == pytest.approx(np.exp(SIGMA**2 / 2), rel=0.05)
    assert measured["median"] == pytest.approx(0.9, abs=0.02)
    assert measured["mean"] == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("in_time", [False, True])
def test_a_fold_takes_its_factor_from_other_folds(in_time: bool) -> None:
    chance = np.random.default_rng(0)
    truths = [chance.lognormal(size=40) for _ in range(5)]
    scored = [(truth, torch.from_numpy(chance.normal(size=(1, 40, 1)))) for truth in truths]
    spec = TrainingSpec.model_validate(
        {"target": "price", "preprocessing": {"target_transform": "log", "retransform": "mean"}}
    )

    def factors() -> list[float]:
        target = TargetScale(truths, spec)
        smear(target, scored, in_time=in_time)
        return target.smearing.flatten().tolist()

    before = factors()
    scored[2] = (truths[2] * 3, scored[2][1])
    moved = [b != a for b, a in zip(before, factors(), strict=True)]
    assert moved == (
        [True, False, False, True, True] if in_time else [True, True, False, True, True]
    )
