"""How far predictions are from the truth, on the target's own scale, and how sure that is.

Each metric is a function of the means of some terms of the rows. So its standard error comes from
the jackknife: the metric again without each unit in turn (Efron and Stein 1981, doi
10.1214/aos/1176345462). A unit is what errs on its own: a row, a group of `group` folds, or a block
of rows in time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec import TrainingSpec

# R² of a fold over fewer rows than this says nothing.
FEWEST_R2_ROWS = 10
# Truths of both signs whose sum is a smaller share of the sum of their sizes cancel: the ratio of
# totals would then magnify any error tenfold or more.
SMALLEST_TOTAL = 0.1
# Blocks in time, of about equal size. Rows further apart than one of them should err on their own.
TIME_BLOCKS = 30

Vector = NDArray[np.float64]
Units = NDArray[np.float64] | NDArray[np.int64]
Metrics = dict[str, float | None]


@dataclass(frozen=True)
class Metric:
    """A figure of predictions (n,) against truths (n,).

    perfect : what right predictions have; nearer to it is better
    terms : (n, T) of the rows, or None where the metric is not defined for these numbers
    value : of the means (…, T) of the terms: (…,)
    """

    perfect: float
    terms: Callable[[Vector, Vector], Vector | None]
    value: Callable[[Vector], Vector]


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


# `rmsle` (of log(1 + y)) needs values above −1, `mape` (a fraction, not per cent) needs non-zero
# truths, `r2` needs truths that vary, `bias` (predictions' sum ÷ truths' sum) a sum that is not
# what is left of cancelling truths.
REGRESSION: Mapping[str, Metric] = {
    "rmse": Metric(0.0, _squares, _root),
    "rmsle": Metric(0.0, _squares_of_logs, _root),
    "mae": Metric(0.0, _sizes, _mean),
    "mape": Metric(0.0, _shares, _mean),
    "r2": Metric(1.0, _squares_and_moments, _explained),
    "bias": Metric(1.0, _totals, _ratio),
}


def regression_metrics(actual: Vector, prediction: Vector) -> Metrics:
    """Every metric of predictions against the truth, both of shape (n,); None where one is not
    defined for these numbers."""
    return {
        name: None if terms is None else _finite(metric.value(terms.mean(axis=0)))
        for name, metric, terms in _terms(actual, prediction)
    }


def metric_errors(actual: Vector, prediction: Vector, units: Units) -> Metrics:
    """The standard error of each metric over the units (n,) of the rows; None where the metric is
    not defined, or there is a single unit."""
    return {
        name: None if terms is None else jackknife(terms, metric.value, units)
        for name, metric, terms in _terms(actual, prediction)
    }


def fold_metrics(actual: Vector, prediction: Vector, variance: float) -> Metrics:
    """The metrics of one fold. `r2` is against the `variance` of the truths of all folds: a
    fold's own would make a right model look wrong where the fold's truths vary little. None for
    fewer than `FEWEST_R2_ROWS` rows."""
    squares = float(np.mean((prediction - actual) ** 2))
    defined = len(actual) >= FEWEST_R2_ROWS and variance > 0
    r2 = _finite(1 - squares / variance) if defined else None
    return regression_metrics(actual, prediction) | {"r2": r2}


def units(spec: TrainingSpec, column: Units | None, rows: int) -> Units:
    """What errs on its own among some rows: a group of `group` folds, a block in time, or a row.

    `column` (n,): the groups or times. Rows of the same time share a block.
    """
    if column is None:
        return np.arange(rows)
    if spec.folds.type == "time":
        earlier = np.searchsorted(np.sort(column), column)
        blocks: Units = earlier * TIME_BLOCKS // rows
        return blocks
    return column


def jackknife(terms: Vector, value: Callable[[Vector], Vector], units: Units) -> float | None:
    """The standard error of a value of the means of terms (n, T); None of a single unit."""
    _, unit = np.unique(units, return_inverse=True)
    rows = np.bincount(unit)
    count = len(rows)
    if count < 2:
        return None
    sums = np.stack([np.bincount(unit, column) for column in terms.T], axis=1)
    with np.errstate(all="ignore"):
        values = value((sums.sum(axis=0) - sums) / (len(terms) - rows)[:, None])
        return _finite(np.sqrt((count - 1) * np.var(values)))


def mean_and_deviation(folds: list[Metrics]) -> tuple[Metrics, Metrics]:
    """Mean and sample standard deviation of each metric over the folds.

    None where one of the folds does not have the metric, or where float64 does not hold the
    number; one fold has no deviation.
    """
    means: Metrics = {}
    deviations: Metrics = {}
    for name in folds[0]:
        values = [fold[name] for fold in folds]
        known = [value for value in values if value is not None]
        complete = len(known) == len(values)
        with np.errstate(over="ignore", invalid="ignore"):
            means[name] = _finite(np.mean(known)) if complete else None
            several = complete and len(known) > 1
            deviations[name] = _finite(np.std(known, ddof=1)) if several else None
    return means, deviations


def _terms(actual: Vector, prediction: Vector) -> list[tuple[str, Metric, Vector | None]]:
    with np.errstate(over="ignore"):
        return [(name, one, one.terms(actual, prediction)) for name, one in REGRESSION.items()]


def _finite(value: float | np.floating[Any] | Vector) -> float | None:
    return float(value) if np.isfinite(value) else None
