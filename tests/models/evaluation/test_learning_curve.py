"""A power law through planted points."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.learning_curve import DEVIATIONS, Law, fit

ROWS = np.array([100.0, 200.0, 400.0, 800.0])
FIVE_ROWS = np.append(ROWS, 1_600.0)
LAWS = [Law(0.1, 2.0, 0.5), Law(0.0, 1.0, 0.3), Law(0.3, 50.0, 1.2)]


def errors_of(law: Law, rows: np.ndarray = ROWS) -> np.ndarray:
    return np.array([law.at(count) for count in rows])


def noise(errors: np.ndarray, own: float, common: float) -> np.ndarray:
    """The covariance of points with relative noise of their own, and noise that all share."""
    return np.diag((own * errors) ** 2) + common**2 * np.outer(errors, errors)


@pytest.mark.parametrize("law", LAWS)
def test_a_planted_law_is_found(law: Law) -> None:
    errors = errors_of(law)
    curve = fit(ROWS, errors, noise(errors, 1e-3, 0.0))
    assert curve.law.exponent == pytest.approx(law.exponent, abs=0.1)
    assert curve.law.floor == pytest.approx(law.floor, abs=0.02)
    forecast = curve.forecast(1_600)
    assert forecast.error == pytest.approx(law.at(1_600), rel=0.03)
    assert forecast.low < law.at(1_600) < forecast.high
    assert forecast.high - forecast.low < 0.15 * forecast.error


def test_the_more_noise_the_wider_the_interval() -> None:
    errors = errors_of(LAWS[0])
    widths = []
    for share in (0.003, 0.01, 0.03, 0.1):
        forecast = fit(ROWS, errors, noise(errors, share, 0.0)).forecast(1_600)
        widths.append((forecast.high - forecast.low) / forecast.error)
    assert widths == sorted(widths)
    assert widths[-1] > 0.2


def test_points_that_say_nothing_leave_everything_open() -> None:
    errors = np.array([1.0, 1.02, 0.98, 1.01])
    forecast = fit(ROWS, errors, noise(errors, 0.2, 0.0)).forecast(1_600)
    assert forecast.low < 0.75
    assert forecast.high > 1.05


def test_errors_that_rise_are_noise_around_a_floor() -> None:
    errors = np.array([1.0, 1.05, 1.1, 1.15])
    curve = fit(ROWS, errors, noise(errors, 0.02, 0.0))
    assert curve.law.at(1_600) == pytest.approx(curve.law.at(800), rel=1e-3)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Over laws, distances from them, and noise that all points share because they score the same
    rows."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(200):
        law = Law(rng.uniform(0, 1), rng.uniform(1, 20), rng.uniform(0.2, 1))
        distance = rng.choice(DEVIATIONS)
        *truth, asked = errors_of(law, FIVE_ROWS) * (1 + distance * rng.normal(size=5))
        covariance = noise(np.array(truth), rng.uniform(0.005, 0.03), 0.03)
        curve = fit(ROWS, rng.multivariate_normal(truth, covariance), covariance)
        forecast = curve.forecast(1_600)
        held.append(forecast.low <= asked <= forecast.high)
    assert 0.84 < np.mean(held) < 0.97


def test_the_unit_of_errors_and_rows_does_not_matter() -> None:
    errors = errors_of(LAWS[0])
    one = fit(ROWS, errors, noise(errors, 0.02, 0.01)).forecast(1_600)
    other = fit(ROWS * 10, errors * 1e5, noise(errors, 0.02, 0.01) * 1e10).forecast(16_000)
    assert other.error == pytest.approx(1e5 * one.error)
    assert (other.low, other.high) == pytest.approx((1e5 * one.low, 1e5 * one.high))


@pytest.mark.parametrize(
    ("rows", "errors"), [([100.0, 100.0], [1.0, 1.0]), ([100.0, 200.0], [1.0, 0.0])]
)
def test_what_no_law_goes_through_is_refused(rows: list[float], errors: list[float]) -> None:
    with pytest.raises(ValueError, match="positive errors of two or more numbers of rows"):
        fit(np.array(rows), np.array(errors), np.eye(2))
