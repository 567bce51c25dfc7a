"""Predictions of the mean of a skewed target: totals come out right, and intervals hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from houses import Case, lay, score, train

from models.evaluation.smearing import smear
from models.export.served import ServedModel

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
        measured[retransform] = found.intervals[2]["measured"]
    # Of the errors of 1,500 rows alone, a ratio deviates by 3.4 %.
    assert ratios["median"] == pytest.approx(np.exp(-(SIGMA**2) / 2), rel=0.07)
    assert ratios["mean"] == pytest.approx(1, abs=0.07)
    assert ratios["mean"] / ratios["median"] == pytest.approx(np.exp(SIGMA**2 / 2), rel=0.05)
    assert measured["median"] == pytest.approx(0.9, abs=0.02)
    assert measured["mean"] == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("in_time", [False, True])
def test_a_fold_takes_its_factor_from_other_folds(tmp_path: Path, in_time: bool) -> None:
    case = skewed(tmp_path, rows=200, retransform="mean")
    trained = train(case)
    scored = [fold.validation for fold in case.folds]

    def factors() -> list[float]:
        served = ServedModel.of(trained)
        smear(served, case.design, scored, in_time=in_time)
        return [served.fold(place).smearing for place in range(len(scored))]

    before = factors()
    case.design.target[scored[2]] *= 3  # which no member is trained on any more
    moved = [b != a for b, a in zip(before, factors(), strict=True)]
    assert moved == (
        [True, False, False, True, True] if in_time else [True, True, False, True, True]
    )
