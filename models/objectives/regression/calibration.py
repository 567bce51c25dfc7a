"""Calibrates prediction intervals on out-of-fold residuals, and measures their coverage.

The interval is centred on the served prediction. Its width comes from the residuals of the single
folds' models; `docs/decisions/0007-intervals.md` compares this with CV+ (Barber et al. 2021,
arXiv 1905.02928). Coverage is measured fold by fold, with the residuals of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from models.objectives.regression.intervals import Calibration, Difficulty, transformed
from models.spec import TargetTransform

# Intervals whose width varies by row must be shorter on average by this share, for each of these
# coverages. Otherwise all have one width.
WORTH = 0.99
COMPARED = (0.8, 0.9, 0.95)

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Residuals:
    """Rows scored by a model that did not see them; all of shape (n,), finite.

    spread : deviation between the fold's members, on the transformed target's scale
    group : the groups of `group` folds; None for others
    of_means : whether predictions are means of a target learnt as its logarithm
    """

    actual: Vector
    prediction: Vector
    spread: Vector
    fold: NDArray[np.int64]
    transform: TargetTransform
    group: NDArray[np.generic] | None = None
    of_means: bool = False

    def __len__(self) -> int:
        return len(self.actual)

    def take(self, kept: NDArray[np.bool_]) -> Residuals:
        return Residuals(
            self.actual[kept],
            self.prediction[kept],
            self.spread[kept],
            self.fold[kept],
            self.transform,
            None if self.group is None else self.group[kept],
            self.of_means,
        )

    @property
    def groups(self) -> int | None:
        return None if self.group is None else len(np.unique(self.group))

    @cached_property
    def shift(self) -> float:
        """From a prediction to the middle of the truths, on the transformed scale."""
        return float(np.median(self._signed)) if self.of_means else 0.0

    @property
    def errors(self) -> Vector:
        """|truth − prediction − shift| on the transformed scale."""
        errors: Vector = np.abs(self._signed - self.shift)
        return errors

    @property
    def _signed(self) -> Vector:
        truth, prediction = (transformed(v, self.transform) for v in (self.actual, self.prediction))
        return truth - prediction


def calibrate(residuals: Residuals, measured: int | None = None) -> Calibration:
    """Calibrate on n ≥ 1 rows. The width varies with the members' spread if that shortens it.

    `measured`: as for `Calibration`.
    """
    groups = residuals.groups
    plain = Calibration.of(residuals.errors, Difficulty(), groups, measured, residuals.shift)
    fitted = _fit(residuals)
    if fitted is None:
        return plain
    difficulty = fitted.of(residuals.spread)
    varied = Calibration.of(
        residuals.errors / difficulty, fitted, groups, measured, residuals.shift
    )
    for coverage in COMPARED:
        narrow, wide = varied.bound(coverage), plain.bound(coverage)
        if narrow is None or wide is None or narrow * difficulty.mean() >= WORTH * wide:
            return plain
    return varied


def _fit(residuals: Residuals) -> Difficulty | None:
    """Least squares of the errors on the spread, with neither coefficient below zero; None: the
    spread is not informative."""
    errors = residuals.errors
    features = np.column_stack([np.ones(len(residuals)), residuals.spread])
    (constant, spread), _ = nnls(features, errors)
    # Without a constant, a row on which the members agree would have no width.
    if spread == 0 or constant <= 0:
        return None
    return Difficulty(constant=float(constant), spread=float(spread))


def measured_units(residuals: Residuals, *, in_time: bool) -> int:
    """The most rows, or groups, that `cross_intervals` uses for any fold."""
    return max(others.groups or len(others) for _, others in _crossed(residuals, in_time=in_time))


def _crossed(
    residuals: Residuals, *, in_time: bool
) -> Iterator[tuple[NDArray[np.bool_], Residuals]]:
    """The rows of each fold, and the rows that calibrate their intervals."""
    for fold in np.unique(residuals.fold):
        own = residuals.fold == fold
        yield own, residuals.take(residuals.fold < fold if in_time else ~own)


def cross_intervals(
    residuals: Residuals, coverages: Sequence[float], *, in_time: bool
) -> list[tuple[Vector, Vector]]:
    """For each coverage, bounds (n,) of each row from the residuals of the other folds; NaN if
    these are too few.

    `in_time`: only from earlier folds.
    """
    bounds = [(np.full(len(residuals), np.nan), np.full(len(residuals), np.nan)) for _ in coverages]
    for own, others in _crossed(residuals, in_time=in_time):
        if len(others) == 0:
            continue
        calibration = calibrate(others)
        prediction, spread = residuals.prediction[own], residuals.spread[own]
        for coverage, (low, high) in zip(coverages, bounds, strict=True):
            bound = calibration.bound(coverage)
            low[own], high[own] = calibration.interval(
                prediction, spread, bound, residuals.transform
            )
    return bounds


def measure(actual: Vector, low: Vector, high: Vector, coverage: float) -> dict[str, Any]:
    """How many truths lie within their bounds, and the mean width; over the rows that have
    bounds."""
    known = np.isfinite(low) & np.isfinite(high)
    if not known.any():
        return {"coverage": coverage, "rows": 0, "measured": None, "mean_width": None}
    inside = (low <= actual) & (actual <= high)
    return {
        "coverage": coverage,
        "rows": int(known.sum()),
        "measured": float(inside[known].mean()),
        "mean_width": float((high - low)[known].mean()),
    }
