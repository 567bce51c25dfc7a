"""The reported metrics against scikit-learn, and where they are not defined."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from models.objectives.metrics import mean_and_deviation, units
from models.objectives.regression.metrics import (
    FEWEST_R2_ROWS,
    METRICS,
    fold_metrics,
    metric_errors,
    regression_metrics,
)
from models.spec import TrainingSpec

NAMES = {"rmse", "rmsle", "mae", "mape", "r2", "bias"}


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
        "bias": pytest.approx(prediction.sum() / actual.sum(), rel=1e-12),
    }


def test_a_perfect_prediction(prices: tuple[np.ndarray, np.ndarray]) -> None:
    actual, _ = prices
    perfect = {name: metric.perfect for name, metric in METRICS.items()}
    assert perfect == dict.fromkeys(NAMES, 0.0) | {"r2": 1.0, "bias": 1.0}
    assert regression_metrics(actual, actual) == perfect
    assert metric_errors(actual, actual, np.arange(len(actual))) == dict.fromkeys(NAMES, 0.0)


def test_mape_is_a_share_and_not_per_cent() -> None:
    assert regression_metrics(np.array([100.0, 200.0]), np.array([110.0, 180.0]))[
        "mape"
    ] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("actual", "prediction", "undefined"),
    [
        ([1.0, 2.0], [1.0, -1.0], {"rmsle"}),
        ([-1.5, 2.0], [1.0, 2.0], {"rmsle"}),
        ([-0.9, 1.0], [-0.5, 1.0], {"bias"}),  # the truths cancel
        ([-0.8, 1.0], [-0.5, 1.0], set()),
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


def test_of_numbers_too_large_to_square_there_is_no_square(
    prices: tuple[np.ndarray, np.ndarray],
) -> None:
    actual, prediction = prices
    found = regression_metrics(actual, prediction * 1e160)
    assert {name for name, value in found.items() if value is None} == {"rmse", "r2"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_standard_error_is_the_spread_over_samples(name: str) -> None:
    """Of 400 tables drawn alike; in the mean the errors say how far the metrics scatter."""
    rng = np.random.default_rng(0)
    found, said = [], []
    for _ in range(400):
        actual = rng.lognormal(12, 0.4, 300)
        prediction = actual * rng.lognormal(0, 0.2, 300)
        found.append(regression_metrics(actual, prediction)[name])
        said.append(metric_errors(actual, prediction, np.arange(300))[name])
    assert np.mean(np.array(said, float)) == pytest.approx(np.std(np.array(found, float)), rel=0.12)


def test_rows_that_err_alike_count_as_one() -> None:
    """Ten copies of each row say no more than one."""
    rng = np.random.default_rng(0)
    actual = rng.lognormal(12, 0.4, 100)
    prediction = actual * rng.lognormal(0, 0.2, 100)
    once = metric_errors(actual, prediction, np.arange(100))
    copies = [np.repeat(values, 10) for values in (actual, prediction)]
    by_group = metric_errors(*copies, np.repeat(np.arange(100), 10))
    by_row = metric_errors(*copies, np.arange(1_000))
    for name, error in once.items():
        assert by_group[name] == pytest.approx(error, rel=1e-6)
        assert by_row[name] == pytest.approx(error / np.sqrt(10), rel=0.05)


def test_one_group_has_no_standard_error(prices: tuple[np.ndarray, np.ndarray]) -> None:
    assert metric_errors(*prices, np.zeros(200)) == dict.fromkeys(NAMES)


def test_what_errs_on_its_own() -> None:
    def spec(kind: str) -> TrainingSpec:
        column = None if kind == "shuffled" else "by"
        return TrainingSpec(target="price", folds={"type": kind, "column": column})

    assert units(spec("shuffled"), None, 3).tolist() == [0, 1, 2]
    assert units(spec("group"), np.array([7, 7, 2]), 3).tolist() == [7, 7, 2]
    times = np.random.default_rng(0).permutation(np.repeat(np.arange(100.0), 3))
    blocks = units(spec("time"), times, 300)
    assert len(np.unique(blocks)) == 30
    assert np.ptp(np.bincount(blocks)) <= 3
    for block in np.unique(blocks):
        assert not set(times[blocks == block]) & set(times[blocks != block])
    assert (np.diff(blocks[np.argsort(times)]) >= 0).all()


def test_r2_of_a_fold_is_against_the_variance_of_all_rows() -> None:
    rng = np.random.default_rng(0)
    actual = 100 + rng.normal(0, 0.1, 50)
    prediction = np.full(50, 100.0)
    own = regression_metrics(actual, prediction)
    found = fold_metrics(actual, prediction, variance=25.0)
    assert own["r2"] == pytest.approx(0.0, abs=0.05)
    assert found == own | {"r2": pytest.approx(1 - np.mean((actual - 100) ** 2) / 25)}
    assert fold_metrics(actual, prediction, variance=0.0)["r2"] is None


def test_a_fold_of_few_rows_has_no_r2() -> None:
    actual = np.arange(1.0, FEWEST_R2_ROWS + 1)
    assert fold_metrics(actual, actual, 4.0)["r2"] == 1.0
    assert fold_metrics(actual[1:], actual[1:], 4.0)["r2"] is None


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
