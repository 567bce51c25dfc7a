"""Prediction intervals: bounds that contain the truth with a requested frequency."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from models.objectives import conformal
from models.objectives.base import Outputs
from models.spec import TargetTransform

Vector = NDArray[np.float64]


class Difficulty(BaseModel):
    """How uncertain a row is: `constant + spread · s`, where s is the deviation between members
    that share a fold, on the transformed target's scale."""

    constant: float = 1.0
    spread: float = 0.0

    def of(self, spread: Vector) -> Vector:
        return self.constant + self.spread * spread


class Calibration(BaseModel):
    """The out-of-fold scores |truth − prediction − shift| / difficulty of `rows` rows, on the
    transformed target's scale: the upper ones in ascending order, with their ranks from 1.

    `groups`: number of groups, with folds by group. Rows of a group err alike, so a few groups are
    little evidence even with many rows. None with other folds.
    `measured`: the rows, or groups, that calibrated the intervals of the fold with the most, when
    coverage was measured: those outside the fold, or before it in time. None in a model of an
    earlier version, and during the measurement.
    `shift`: from a prediction of the mean of a skewed target down to the middle of the truths,
    around which an interval is shortest; 0 otherwise.
    """

    rows: int
    groups: int | None = None
    measured: int | None = None
    ranks: list[int]
    scores: list[float]
    difficulty: Difficulty
    shift: float = 0.0

    @classmethod
    def of(
        cls,
        scores: Vector,
        difficulty: Difficulty,
        groups: int | None = None,
        measured: int | None = None,
        shift: float = 0.0,
    ) -> Calibration:
        """Build from all n scores, in any order."""
        return cls(
            **conformal.upper_scores(scores),
            groups=groups,
            measured=measured,
            difficulty=difficulty,
            shift=shift,
        )

    def bound(self, coverage: float) -> float | None:
        """The score that a new row's stays below with probability `coverage`; None: there are too
        few rows or groups."""
        if self.units < self.units_needed(coverage):
            return None
        known = {"rows": self.rows, "ranks": self.ranks, "scores": self.scores}
        found = conformal.bound(known, coverage)
        return found if math.isfinite(found) else None

    def interval(
        self, value: Vector, spread: Vector, bound: float | None, transform: TargetTransform
    ) -> tuple[Vector, Vector]:
        """Bounds (N,) around values (N,) on the target's own scale; NaN if there are none.

        `bound`: of the scores, as `bound` finds it for a coverage.

        The mean of a very skewed target may lie outside the interval of most truths. The interval
        is then extended to it.
        """
        radius = self.difficulty.of(spread) * (math.nan if bound is None else bound)
        # A bound beyond the largest float becomes null.
        with np.errstate(over="ignore", invalid="ignore"):
            if transform == "log":
                low, high = (value * np.exp(self.shift + end) for end in (-radius, radius))
                return np.minimum(low, value), np.maximum(high, value)
            return value - radius, value + radius

    @property
    def units(self) -> int:
        """The number of independent units: rows, or groups with all their rows. The measurement
        had fewer, and its number counts, so that no coverage is served that was not measured."""
        if self.measured is not None:
            return self.measured
        return self.rows if self.groups is None else self.groups

    def units_needed(self, coverage: float) -> int:
        """The fewest units with which this coverage is possible."""
        return math.ceil(coverage / (1 - coverage) - 1e-9)


def transformed(values: Vector, transform: TargetTransform) -> Vector:
    """The values on the learnt scale."""
    return np.log(values) if transform == "log" else values


def spread_within_folds(outputs: Outputs, per_fold: int, transform: TargetTransform) -> Vector:
    """(N,) deviation between the members of a fold, or between the parts of a blend, on the
    transformed scale; the mean over the folds. Fold f owns members f·m … f·m + m − 1, m =
    `per_fold`."""
    if outputs.spread is not None:
        return outputs.spread
    members = outputs.members
    if per_fold == 1:
        return np.zeros(members.shape[1])
    by_fold = transformed(members, transform).reshape(-1, per_fold, members.shape[1])
    mean: Vector = by_fold.std(axis=1).mean(axis=0)
    return mean
