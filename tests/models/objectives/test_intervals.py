"""Conformal intervals: their ranks, their coverage, and what few rows cannot say."""

from __future__ import annotations

import numpy as np
import pytest

from models.objectives.base import Outputs
from models.objectives.conformal import MOST_SCORES
from models.objectives.regression.intervals import Calibration, Difficulty, spread_within_folds

COVERAGES = (0.5, 0.8, 0.9, 0.95, 0.99)


def outputs(members: np.ndarray) -> Outputs:
    return Outputs(members.mean(0), members, np.empty((0, 0)), np.empty((0, 0), np.int64))


def calibration(rows: int) -> Calibration:
    """Scores 1, 2, … rows."""
    return Calibration.of(np.random.default_rng(0).permutation(rows) + 1.0, Difficulty())


@pytest.mark.parametrize(("rows", "coverage", "bound"), [(9, 0.9, 9), (99, 0.9, 90), (20, 0.5, 11)])
def test_the_bound_is_the_conformal_rank(rows: int, coverage: float, bound: float) -> None:
    """⌈(n + 1)·c⌉, which (99 + 1)·0.9 is in whole numbers, whatever floats say."""
    assert calibration(rows).bound(coverage) == bound


@pytest.mark.parametrize("coverage", COVERAGES)
def test_the_fewest_rows_that_are_enough(coverage: float) -> None:
    needed = calibration(5).units_needed(coverage)
    assert calibration(needed).bound(coverage) == needed
    if needed > 1:
        assert calibration(needed - 1).bound(coverage) is None


def test_one_row_is_enough_for_a_coin() -> None:
    assert calibration(1).bound(0.5) == 1
    assert calibration(1).bound(0.51) is None


def test_a_large_table_keeps_few_scores_and_its_coverage() -> None:
    rows = 100_000
    kept = calibration(rows)
    assert len(kept.scores) == MOST_SCORES
    for coverage in COVERAGES:
        exact = np.ceil((rows + 1) * coverage)
        assert exact <= kept.bound(coverage) <= exact + rows / MOST_SCORES


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_new_scores_stay_below_the_bound_as_often_as_asked(coverage: float) -> None:
    """Vovk et al. 2005: c ≤ P ≤ c + 1 / (n + 1) over tables of n rows and a new one each."""
    chance = np.random.default_rng(1)
    tables, rows = 4_000, 39
    scores = chance.exponential(size=(tables, rows + 1))
    below = [row[-1] <= Calibration.of(row[:-1], Difficulty()).bound(coverage) for row in scores]
    noise = 3 * np.sqrt(coverage * (1 - coverage) / tables)
    assert coverage - noise <= np.mean(below) <= coverage + 1 / (rows + 1) + noise


def test_the_interval_is_around_the_value_on_the_scale_that_was_learnt() -> None:
    found = Calibration(
        rows=9, ranks=[9], scores=[2.0], difficulty=Difficulty(constant=0.1, spread=3.0)
    )
    value, spread = np.array([100.0, 50.0]), np.array([0.0, 0.1])
    low, high = found.interval(value, spread, found.bound(0.9), "none")
    np.testing.assert_allclose(high - value, 2 * (0.1 + 3 * spread))
    np.testing.assert_allclose(value - low, high - value)
    low, high = found.interval(value, spread, found.bound(0.9), "log")
    np.testing.assert_allclose(np.log(high / value), 2 * (0.1 + 3 * spread))
    np.testing.assert_allclose(value / low, high / value)
    assert np.isnan(found.interval(value, spread, found.bound(0.95), "log")).all()


def test_the_spread_is_that_within_folds() -> None:
    """Folds that disagree add nothing: a fold's model alone has no such spread."""
    members = np.array([[1.0, 5.0], [3.0, 5.0], [101.0, 7.0], [101.0, 9.0]])
    np.testing.assert_allclose(spread_within_folds(outputs(members), 2, "none"), [0.5, 0.5])
    np.testing.assert_allclose(
        spread_within_folds(outputs(np.exp(members / 10)), 2, "log"), [0.05, 0.05]
    )
    assert spread_within_folds(outputs(members), 1, "none").tolist() == [0, 0]


def test_few_groups_say_little_however_many_rows_they_have() -> None:
    """A new row is of a new group: 9 of them are the fewest for 90 %, as 9 rows would be."""
    scores = np.arange(1.0, 1_001)
    for groups, has_any in ((8, False), (9, True)):
        found = Calibration.of(scores, Difficulty(), groups)
        assert (found.bound(0.9) is not None) == has_any
        assert found.bound(0.8) is not None
