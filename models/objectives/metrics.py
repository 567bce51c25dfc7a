"""Metrics of predictions, and their standard errors.

A standard error comes from the jackknife, which computes the metric again without each unit in turn
(Efron and Stein 1981, doi 10.1214/aos/1176345462). Units err independently: a row, a group of
`group` folds, or a block of rows in time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec import TrainingSpec

# Blocks in time, of about equal size. Rows more than a block apart should err independently.
TIME_BLOCKS = 30
# Parts of the units that are left out in turn: the standard error is within 7 % or so.
JACKKNIFE_GROUPS = 100

Vector = NDArray[np.float64]
Units = NDArray[np.float64] | NDArray[np.int64]
Metrics = dict[str, float | None]


@dataclass(frozen=True)
class Metric:
    """perfect : its value for perfect predictions; nearer to it is better"""

    perfect: float


@dataclass(frozen=True)
class MeanMetric(Metric):
    """A metric of predictions (n,) against truths (n,): a function of the means of some terms.

    terms : (n, T) of the rows, or None if the metric is not defined for these numbers
    value : from the means (…, T) of the terms to (…,)
    """

    terms: Callable[[Vector, Vector], Vector | None]
    value: Callable[[Vector], Vector]


@dataclass(frozen=True)
class OfMeans:
    """A metric of n rows that is a function of the means of terms.

    terms : (n, T)
    value : from the means (…, T) of the terms, with any weights of the rows, to (…,)
    """

    terms: Vector
    value: Callable[[Vector], Vector]


@dataclass(frozen=True)
class OfRows:
    """A metric of n rows that is no function of means.

    value : from weights (n,) of the rows to the metric, NaN if it is not defined
    """

    value: Callable[[Vector], float]


def units(spec: TrainingSpec, column: Units | None, rows: int) -> Units:
    """The independent unit of each row: its group with `group` folds, its block in time, or itself.

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
    """The standard error of a value of the means of terms (n, T); None for a single unit."""
    covariance = jackknife_covariance(terms, lambda means: value(means)[:, None], units)
    return None if covariance is None else finite(np.sqrt(covariance[0, 0]))


def jackknife_covariance(
    terms: Vector, values: Callable[[Vector], Vector], units: Units
) -> Vector | None:
    """The covariance (M, M) of values (…, M) of the means of terms (n, T); None for a single
    unit."""
    _, unit = np.unique(units, return_inverse=True)
    rows = np.bincount(unit)
    count = len(rows)
    if count < 2:
        return None
    sums = np.stack([np.bincount(unit, column) for column in terms.T], axis=1)
    with np.errstate(all="ignore"):
        without = values((sums.sum(axis=0) - sums) / (len(terms) - rows)[:, None])
        apart = without - without.mean(axis=0)
        covariance: Vector = (count - 1) / count * (apart.T @ apart)
    return covariance


def weighted_jackknife(value: Callable[[Vector], Vector], units: Units) -> Vector | None:
    """Standard errors (M,) of M metrics that are a function of weights (n,) of the rows; None for
    a single unit.

    Many units are left out by the group, of random units: the variance of such a delete-a-group
    jackknife is that of the units (Kott 2001, "The delete-a-group jackknife").
    """
    _, unit = np.unique(units, return_inverse=True)
    count = int(unit.max()) + 1
    if count < 2:
        return None
    groups = min(count, JACKKNIFE_GROUPS)
    part = (np.random.default_rng(0).permutation(count) % groups)[unit]
    without = np.stack([value((part != group).astype(np.float64)) for group in range(groups)])
    with np.errstate(invalid="ignore"):
        errors: Vector = np.sqrt((groups - 1) * np.var(without, axis=0))
    return errors


def mean_and_deviation(folds: list[Metrics]) -> tuple[Metrics, Metrics]:
    """Mean and sample standard deviation of each metric over the folds.

    None if one of the folds lacks the metric, or if the number overflows float64; one fold has no
    deviation.
    """
    means: Metrics = {}
    deviations: Metrics = {}
    for name in folds[0]:
        values = [fold[name] for fold in folds]
        known = [value for value in values if value is not None]
        complete = len(known) == len(values)
        with np.errstate(over="ignore", invalid="ignore"):
            means[name] = finite(np.mean(known)) if complete else None
            several = complete and len(known) > 1
            deviations[name] = finite(np.std(known, ddof=1)) if several else None
    return means, deviations


def finite(value: float | np.floating[Any] | Vector) -> float | None:
    return float(value) if np.isfinite(value) else None
