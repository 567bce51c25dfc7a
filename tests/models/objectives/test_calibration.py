"""Intervals from out-of-fold residuals: their width, and the honesty of their measured coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.objectives.regression.calibration import (
    Residuals,
    calibrate,
    cross_intervals,
    measure,
    measured_units,
)
from models.objectives.regression.intervals import Calibration

ROWS, FOLDS = 4_000, 5


def residuals(*, telling: bool, rows: int = ROWS, seed: int = 0) -> Residuals:
    """Errors whose size the members' spread tells, or does not."""
    chance = np.random.default_rng(seed)
    spread = chance.uniform(0.01, 0.2, rows)
    size = spread if telling else np.full(rows, 0.1)
    prediction = np.exp(chance.normal(12, 0.4, rows))
    actual = prediction * np.exp(size * chance.standard_normal(rows))
    return Residuals(actual, prediction, spread, np.arange(rows) % FOLDS, "log")


def test_a_spread_that_tells_of_errors_shortens_the_intervals() -> None:
    found = residuals(telling=True)
    varied, plain = calibrate(found), calibrate(replace(found, spread=np.zeros(ROWS)))
    assert varied.difficulty.spread > 0
    assert plain.difficulty.spread == 0
    unseen = residuals(telling=True, seed=1)

    def widths(calibration: Calibration) -> tuple[float, float]:
        low, high = calibration.interval(
            unseen.prediction, unseen.spread, calibration.bound(0.9), "log"
        )
        report = measure(unseen.actual, low, high, 0.9)
        return report["measured"], report["mean_width"]

    (covered, width), (plainly, wide) = widths(varied), widths(plain)
    assert width < 0.9 * wide
    assert covered == pytest.approx(0.9, abs=0.02)
    assert plainly == pytest.approx(0.9, abs=0.02)


def test_a_spread_that_tells_nothing_is_left_out() -> None:
    assert calibrate(residuals(telling=False)).difficulty.spread == 0


def test_the_truth_of_a_fold_has_no_say_in_its_own_intervals() -> None:
    found = residuals(telling=True, rows=500)
    own = found.fold == 2
    absurd = replace(found, actual=np.where(own, found.actual * 100, found.actual))
    before, after = (cross_intervals(r, [0.9], in_time=False)[0] for r in (found, absurd))
    for bound, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(bound[own], other[own])
        assert (bound[~own] != other[~own]).all()


def test_in_time_only_earlier_folds_have_a_say() -> None:
    found = residuals(telling=False, rows=500)
    late = found.fold == FOLDS - 1
    absurd = replace(found, actual=np.where(late, found.actual * 100, found.actual))
    ((low, high),) = cross_intervals(found, [0.9], in_time=True)
    assert np.isnan(low[found.fold == 0]).all()
    assert np.isfinite(low[found.fold > 0]).all()
    np.testing.assert_array_equal(cross_intervals(absurd, [0.9], in_time=True)[0], (low, high))


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("telling", [True, False])
def test_the_measured_coverage_is_what_was_asked(coverage: float, *, telling: bool) -> None:
    found = residuals(telling=telling)
    report = measure(found.actual, *cross_intervals(found, [coverage], in_time=False)[0], coverage)
    noise = 3 * np.sqrt(coverage * (1 - coverage) / ROWS)
    assert report["measured"] == pytest.approx(coverage, abs=noise)
    assert report["rows"] == ROWS


def test_what_cannot_be_measured_is_said_to_be_so() -> None:
    found = residuals(telling=False, rows=10)
    report = measure(found.actual, *cross_intervals(found, [0.95], in_time=False)[0], 0.95)
    assert report == {"coverage": 0.95, "rows": 0, "measured": None, "mean_width": None}


@pytest.mark.parametrize("in_time", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("folds", [1, 2, 5])
def test_what_is_served_was_measured(folds: int, *, grouped: bool, in_time: bool) -> None:
    """At each coverage, for tables of any size."""
    served = 0
    for rows in (5, 11, 13, 22, 40, 110, 130, 210):
        found = replace(
            residuals(telling=False, rows=rows),
            fold=np.arange(rows) % folds,
            group=np.arange(rows) // 2 if grouped else None,
        )
        calibration = calibrate(found, measured_units(found, in_time=in_time))
        for coverage in (0.5, 0.8, 0.9, 0.95, 0.99):
            (bounds,) = cross_intervals(found, [coverage], in_time=in_time)
            measured = measure(found.actual, *bounds, coverage)["measured"]
            assert (calibration.bound(coverage) is None) == (measured is None)
            served += measured is not None
    assert (served > 0) == (folds > 1)
