"""Metrics of predicted numbers on the target's own scale."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.objectives.metrics import MeanMetric, Metrics, Units, Vector, finite, jackknife

# R² of a fold with fewer rows than this is meaningless.
FEWEST_R2_ROWS = 10
# Truths of both signs cancel if their sum is a smaller share than this of the sum of their sizes.
# The ratio of totals would then magnify any error tenfold or more.
SMALLEST_TOTAL = 0.1


def _squares(actual: Vector, prediction: Vector) -> Vector:
    return _columns((prediction - actual) ** 2)


def _squares_of_logs(actual: Vector, prediction: Vector) -> Vector | None:
    if min(actual.min(), prediction.min()) <= -1:
        return None
    return _columns((np.log1p(prediction) - np.log1p(actual)) ** 2)


def _sizes(actual: Vector, prediction: Vector) -> Vector:
    return _columns(np.abs(prediction - actual))


def _shares(actual: Vector, prediction: Vector) -> Vector | None:
    if (actual == 0).any():
        return None
    return _columns(np.abs((prediction - actual) / actual))


def _squares_and_moments(actual: Vector, prediction: Vector) -> Vector | None:
    if np.ptp(actual) == 0:
        return None
    away = actual - actual.mean()
    return _columns((prediction - actual) ** 2, away, away**2)


def _totals(actual: Vector, prediction: Vector) -> Vector | None:
    if abs(actual.sum()) <= SMALLEST_TOTAL * np.abs(actual).sum():
        return None
    return _columns(prediction, actual)


def _columns(*terms: Vector) -> Vector:
    return np.stack(terms, axis=1)


def _root(means: Vector) -> Vector:
    root: Vector = np.sqrt(means[..., 0])
    return root


def _mean(means: Vector) -> Vector:
    return means[..., 0]


def _explained(means: Vector) -> Vector:
    return 1 - means[..., 0] / (means[..., 2] - means[..., 1] ** 2)


def _ratio(means: Vector) -> Vector:
    return means[..., 0] / means[..., 1]


# `rmsle` (of log(1 + y)) needs values above −1. `mape` (a fraction, not per cent) needs non-zero
# truths. `r2` needs truths that vary. `bias` (predictions' sum ÷ truths' sum) needs truths that do
# not cancel.
METRICS: Mapping[str, MeanMetric] = {
    "rmse": MeanMetric(0.0, _squares, _root),
    "rmsle": MeanMetric(0.0, _squares_of_logs, _root),
    "mae": MeanMetric(0.0, _sizes, _mean),
    "mape": MeanMetric(0.0, _shares, _mean),
    "r2": MeanMetric(1.0, _squares_and_moments, _explained),
    "bias": MeanMetric(1.0, _totals, _ratio),
}


def regression_metrics(actual: Vector, prediction: Vector) -> Metrics:
    """Every metric of predictions against the truth, both of shape (n,); None if one is not
    defined for these numbers."""
    return {
        name: None if terms is None else finite(metric.value(terms.mean(axis=0)))
        for name, metric, terms in _terms(actual, prediction)
    }


def metric_errors(actual: Vector, prediction: Vector, units: Units) -> Metrics:
    """The standard error of each metric over the units (n,) of the rows; None if the metric is not
    defined, or there is a single unit."""
    return {
        name: None if terms is None else jackknife(terms, metric.value, units)
        for name, metric, terms in _terms(actual, prediction)
    }


def fold_metrics(actual: Vector, prediction: Vector, variance: float) -> Metrics:
    """The metrics of one fold. `r2` uses the `variance` of the truths of all folds, because a right
    model would look wrong in a fold whose truths vary little. It is None for fewer than
    `FEWEST_R2_ROWS` rows."""
    squares = float(np.mean((prediction - actual) ** 2))
    defined = len(actual) >= FEWEST_R2_ROWS and variance > 0
    r2 = finite(1 - squares / variance) if defined else None
    return regression_metrics(actual, prediction) | {"r2": r2}


def _terms(actual: Vector, prediction: Vector) -> list[tuple[str, MeanMetric, Vector | None]]:
    with np.errstate(over="ignore"):
        return [(name, one, one.terms(actual, prediction)) for name, one in METRICS.items()]
