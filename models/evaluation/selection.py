"""What the best of many trials is worth. All of them were trained on the same folds, and one was
picked by its out-of-fold error, so that this error is too good.

The bootstrap bias correction picks again on rows drawn with replacement, and scores the pick on the
rows that were not drawn (Tsamardinos, Greasidou and Borboudakis 2018, "Bootstrapping the
out-of-sample predictions for efficient and accurate cross-validation", doi
10.1007/s10994-018-5714-4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.evaluation.simplicity import as_good
from models.objectives.base import Codes, Objective
from models.objectives.metrics import JACKKNIFE_GROUPS, OfMeans, OfRows, Units, Vector

BOOTSTRAPS = 1000
# Of a metric that is no function of means, each takes a pass over the rows of each trial.
BOOTSTRAPS_OF_ROWS = 100
# More units are merged at random, which leaves the variance as it is.
MOST_UNITS = 20_000
# Trials and bootstraps that are multiplied at a time.
TOGETHER, AT_A_TIME = 32, 100

Counts = NDArray[np.uint8]


@dataclass(frozen=True)
class Trials:
    """Out-of-fold predictions of T trials for n rows.

    predictions : of each (n,) numbers or (n, C) probabilities, NaN where no fold scored the row;
        one is read at a time
    actual : (n,), a class is its index
    units : (n,) what errs independently (`models.objectives.metrics.units`)
    predicted : of each (n,) indices of the predicted classes; None: the most probable ones
    positive : the index of that class
    """

    objective: Objective
    predictions: Sequence[NDArray[np.floating]] | NDArray[np.floating]
    actual: Vector
    units: Units
    predicted: Sequence[Codes] | Codes | None = None
    positive: int | None = None

    def __len__(self) -> int:
        return len(self.predictions)

    def metric(self, name: str, trial: int) -> OfMeans | OfRows | None:
        """None if it is not defined, or if the trial lacks rows that others have scored."""
        if not self._scored[trial, self._rows].all():
            return None
        return self.objective.reweighed(
            name,
            self.actual[self._rows],
            self.predictions[trial][self._rows].astype(np.float64),
            None if self.predicted is None else self.predicted[trial][self._rows],
            self.positive,
        )

    @cached_property
    def unit_of(self) -> Codes:
        """The unit, from 0, of each row that a trial has scored; at most `MOST_UNITS`."""
        unit = np.unique(self.units[self._rows], return_inverse=True)[1]
        count = int(unit.max(initial=-1)) + 1
        if count > MOST_UNITS:
            unit = (np.random.default_rng(0).permutation(count) % MOST_UNITS)[unit]
        return unit

    @cached_property
    def _scored(self) -> NDArray[np.bool_]:
        return np.stack(
            [np.isfinite(own).reshape(len(own), -1).all(axis=1) for own in self.predictions]
        )

    @cached_property
    def _rows(self) -> Codes:
        return np.flatnonzero(self._scored.any(0))


@dataclass(frozen=True)
class Expected:
    """The metric that the best trial should have on new rows.

    winner : the best trial
    naive : its out-of-fold metric, by which it was picked
    estimate : corrected for that; None if the units are too few to be drawn from
    low, high : percentiles 2.5 and 97.5. The scored rows are 37 % of all, so the interval is wide:
        it contained the truth in 97 to 100 % of 36 simulations, but for one trial with heavy tails
        (92 % with 60 rows, 96 % with 300).
    optimism : by how much `naive` is nearer to perfect than `estimate`
    wins : (T,) how often each trial was the best on rows that were drawn
    """

    metric: str
    winner: int
    naive: float
    estimate: float | None
    low: float | None
    high: float | None
    optimism: float | None
    wins: list[float]


@dataclass(frozen=True)
class Simpler:
    """A trial that is as good as the best one with fewer weights.

    times_smaller : how many times
    difference : by how much the best one is nearer to perfect
    standard_error : of the difference
    """

    trial: int
    times_smaller: float
    difference: float
    standard_error: float


def expected_error(trials: Trials, metric: str, *, seed: int = 0) -> Expected | None:
    """What the best trial's metric is worth; None if no trial has the metric."""
    judge = _Judge(trials, metric)
    drawn = judge.drawn(np.random.default_rng(seed))
    values = judge.values(np.concatenate([np.ones_like(drawn[:1]), drawn]))
    away = judge.away(values)
    best = np.where(np.isfinite(away).any(1), away.argmin(1), -1)
    winner, winners = int(best[0]), best[1:]
    if winner < 0:
        return None
    naive = float(values[0, winner])
    left_out = (drawn == 0).astype(np.uint8)
    outside = judge.each(winners, left_out)
    # The same rows judge the winner of all rows: what they have in common cancels out.
    alike = judge.each(np.full_like(winners, winner), left_out)
    is_known = np.isfinite(outside) & np.isfinite(alike)
    outside, alike = outside[is_known], alike[is_known]
    wins = np.bincount(winners[winners >= 0], minlength=len(trials)) / len(drawn)
    if len(outside) == 0:
        return Expected(metric, winner, naive, None, None, None, None, wins.tolist())
    # Picks of worse rows than all are worse on average, but for chance.
    optimism = max(float((judge.away(outside) - judge.away(alike)).mean()), 0.0)
    away_from = 1.0 if naive > judge.perfect or judge.perfect == 0 else -1.0
    estimate = naive + away_from * optimism
    low, high = np.percentile(outside, (2.5, 97.5)).tolist()
    return Expected(metric, winner, naive, estimate, low, high, optimism, wins.tolist())


def simpler(trials: Trials, metric: str, sizes: Sequence[int]) -> Simpler | None:
    """The trial that `as_good` finds beside the best one; `sizes` (T,): how many weights each
    has."""
    judge = _Judge(trials, metric)
    away = judge.away(judge.values(np.ones((1, judge.units), np.uint8))[0])
    if judge.units < 2 or not np.isfinite(away).any():
        return None
    best = int(away.argmin())
    # The jackknife, which leaves out many units by the group as `weighted_jackknife` does.
    groups = min(judge.units, JACKKNIFE_GROUPS)
    part = np.random.default_rng(0).permutation(judge.units) % groups
    without = judge.away(judge.values((part != np.arange(groups)[:, None]).astype(np.uint8)))
    with np.errstate(invalid="ignore"):
        differences = away - away[best]
        errors = np.sqrt((groups - 1) * np.var(without - without[:, [best]], axis=0))
    place = as_good(differences, errors, sizes, sizes[best])
    if place is None:
        return None
    return Simpler(
        place, sizes[best] / sizes[place], float(differences[place]), float(errors[place])
    )


class _Judge:
    """The metric of all trials with any weights of the U units."""

    def __init__(self, trials: Trials, metric: str) -> None:
        self._trials = trials
        self._metric = metric
        self.perfect = trials.objective.metrics[metric].perfect
        self._rows_of_unit = np.bincount(trials.unit_of).astype(np.float64)
        self.units = len(self._rows_of_unit)

    def away(self, values: Vector) -> Vector:
        """How far metrics are from perfect; infinite if they are not defined."""
        gap = np.abs(values - self.perfect)
        return np.where(np.isfinite(gap), gap, np.inf)

    def drawn(self, rng: np.random.Generator) -> Counts:
        """(B, U) how often each unit is drawn, with replacement."""
        known = (self._trials.metric(self._metric, trial) for trial in range(len(self._trials)))
        of_rows = isinstance(next((one for one in known if one is not None), None), OfRows)
        drawn = np.empty((BOOTSTRAPS_OF_ROWS if of_rows else BOOTSTRAPS, self.units), np.uint8)
        for counts in drawn:
            counts[:] = np.bincount(
                rng.integers(self.units, size=self.units), minlength=self.units
            ).clip(max=255)
        return drawn

    def values(self, weights: Counts) -> Vector:
        """(B, T) with weights (B, U), NaN where a metric is not defined."""
        found = np.full((len(weights), len(self._trials)), np.nan)
        if self.units == 0:
            return found
        together: dict[int, OfMeans] = {}
        for trial in range(len(self._trials)):
            one = self._trials.metric(self._metric, trial)
            if isinstance(one, OfRows):
                found[:, trial] = self._of_rows(one, weights)
            elif one is not None:
                together[trial] = one
                if len(together) == TOGETHER:
                    found[:, list(together)] = self._of_means([*together.values()], weights)
                    together.clear()
        if together:
            found[:, list(together)] = self._of_means([*together.values()], weights)
        return found

    def each(self, trials: Codes, weights: Counts) -> Vector:
        """(B,) of one trial (B,) for each of weights (B, U); −1 has NaN."""
        found = np.full(len(weights), np.nan)
        for trial in np.unique(trials[trials >= 0]).tolist():
            own = trials == trial
            one = self._trials.metric(self._metric, trial)
            if isinstance(one, OfRows):
                found[own] = self._of_rows(one, weights[own])
            elif one is not None:
                found[own] = self._of_means([one], weights[own])[:, 0]
        return found

    def _of_means(self, metrics: Sequence[OfMeans], weights: Counts) -> Vector:
        """(B, metrics)"""
        unit = self._trials.unit_of
        sums = np.stack(
            [
                [np.bincount(unit, column, self.units) for column in metric.terms.T]
                for metric in metrics
            ]
        )  # (metrics, K, U)
        each = []
        with np.errstate(all="ignore"):
            for first in range(0, len(weights), AT_A_TIME):
                part = weights[first : first + AT_A_TIME].astype(np.float64)
                total = part @ self._rows_of_unit
                means = part @ sums.reshape(-1, self.units).T / total[:, None]
                each.append(metrics[0].value(means.reshape(len(part), *sums.shape[:2])))
        return np.concatenate(each)

    def _of_rows(self, metric: OfRows, weights: Counts) -> Vector:
        """(B,)"""
        unit = self._trials.unit_of
        return np.array(
            [metric.value(own[unit].astype(np.float64)) if own.any() else np.nan for own in weights]
        )
