"""How far predictions are from the truth, on the target's own scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

Vector = NDArray[np.float64]


REGRESSION_METRICS = ("rmse", "rmsle", "mae", "mape", "r2")


def regression_metrics(actual: Vector, prediction: Vector) -> dict[str, float | None]:
    """rmse, rmsle, mae, mape and r2 of predictions against the truth, both of shape (n,).

    A metric that is not defined for these numbers is None: `rmsle` (of log(1 + y)) needs values
    above −1, `mape` (a fraction, not per cent) needs non-zero truths, `r2` needs truths that vary.
    """
    logs_defined = min(actual.min(), prediction.min()) > -1
    return {
        "rmse": float(metrics.root_mean_squared_error(actual, prediction)),
        "rmsle": float(np.sqrt(np.mean((np.log1p(prediction) - np.log1p(actual)) ** 2)))
        if logs_defined
        else None,
        "mae": float(metrics.mean_absolute_error(actual, prediction)),
        "mape": float(metrics.mean_absolute_percentage_error(actual, prediction))
        if np.all(actual != 0)
        else None,
        "r2": float(metrics.r2_score(actual, prediction)) if np.ptp(actual) > 0 else None,
    }


def mean_and_deviation(
    folds: list[dict[str, float | None]],
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Mean and sample standard deviation of each metric over the folds.

    None where one of the folds does not have the metric, or where float64 does not hold the
    number; one fold has no deviation.
    """
    means: dict[str, float | None] = {}
    deviations: dict[str, float | None] = {}
    for name in folds[0]:
        values = [fold[name] for fold in folds]
        known = [value for value in values if value is not None]
        complete = len(known) == len(values)
        with np.errstate(over="ignore", invalid="ignore"):
            means[name] = _finite(np.mean(known)) if complete else None
            several = complete and len(known) > 1
            deviations[name] = _finite(np.std(known, ddof=1)) if several else None
    return means, deviations


def _finite(value: np.floating[Any]) -> float | None:
    return float(value) if np.isfinite(value) else None
