"""The reported metrics against scikit-learn, and where they are not defined."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from models.data.metrics import mean_and_deviation, regression_metrics

NAMES = {"rmse", "rmsle", "mae", "mape", "r2"}


@pytest.fixture
def prices() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    actual = rng.lognormal(12, 0.4, 200)
    return actual, actual * rng.lognormal(0, 0.1, 200)


def test_each_metric_is_the_one_of_its_name(prices: tuple[np.ndarray, np.ndarray]) -> None:
    actual, prediction = prices
    found = regression_metrics(actual, prediction)
    assert found == {
        "rmse": pytest.approx(metrics.root_mean_squared_error(actual, prediction), rel=1e-12),
        "rmsle": pytest.approx(metrics.root_mean_squared_log_error(actual, prediction), rel=1e-12),
        "mae": pytest.approx(metrics.mean_absolute_error(actual, prediction), rel=1e-12),
        "mape": pytest.approx(metrics.mean_absolute_percentage_error(actual, prediction)),
        "r2": pytest.approx(metrics.r2_score(actual, prediction), rel=1e-12),
    }


def test_a_perfect_prediction(prices: tuple[np.ndarray, np.ndarray]) -> None:
    actual, _ = prices
    expected = dict.fromkeys(NAMES, 0.0) | {"r2": 1.0}
    assert regression_metrics(actual, actual) == expected


def test_mape_is_a_share_and_not_per_cent() -> None:
    assert regression_metrics(np.array([100.0, 200.0]), np.array([110.0, 180.0]))[
        "mape"
    ] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("actual", "prediction", "undefined"),
    [
        ([1.0, 2.0], [1.0, -1.0], {"rmsle"}),
        ([-1.5, 2.0], [1.0, 2.0], {"rmsle"}),
        ([0.0, 2.0], [1.0, 2.0], {"mape"}),
        ([3.0, 3.0], [1.0, 2.0], {"r2"}),
        ([3.0], [1.0], {"r2"}),
        ([-0.5, 2.0], [-0.9, 2.0], set()),
    ],
)
def test_a_metric_that_is_not_defined_is_none(
    actual: list[float], prediction: list[float], undefined: set[str]
) -> None:
    found = regression_metrics(np.array(actual), np.array(prediction))
    assert found.keys() == NAMES
    assert {name for name, value in found.items() if value is None} == undefined


def test_mean_and_deviation_over_folds() -> None:
    means, deviations = mean_and_deviation(
        [{"rmse": 1.0, "r2": 0.5}, {"rmse": 2.0, "r2": None}, {"rmse": 6.0, "r2": 0.7}]
    )
    assert means == {"rmse": pytest.approx(3.0), "r2": None}
    assert deviations == {"rmse": pytest.approx(np.std([1, 2, 6], ddof=1)), "r2": None}


def test_a_deviation_that_float64_does_not_hold_is_left_out() -> None:
    """JSON has no infinity: a result with one could be neither stored nor answered."""
    means, deviations = mean_and_deviation([{"r2": -1e272}, {"r2": 0.5}])
    assert means == {"r2": pytest.approx(-5e271)}
    assert deviations == {"r2": None}
