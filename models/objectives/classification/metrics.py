"""Metrics of predicted classes and of their probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.objectives.base import Codes, Vector
from models.objectives.metrics import Metric, Metrics, Units, finite, weighted_jackknife

Counts = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]

# Bins of equal width of the predicted class's probability, over which `ece` compares it with the
# share that is right (Guo et al. 2017, arXiv 1706.04599).
ECE_BINS = 10
# The logarithm of 0 is infinite.
LEAST = np.finfo(np.float64).tiny
# Classes that a confusion matrix is shown for, and pairs that are named for more.
MOST_IN_MATRIX = 50
MOST_CONFUSED = 20

# `balanced_accuracy` is the mean recall. `f1` and `roc_auc`, each class against the others, are
# means over the classes. `brier` is the sum of squares over the classes. `average_precision` is of
# the positive one of two classes. `mcc` is the coefficient of Matthews 1975 in the form of Gorodkin
# 2004 (doi 10.1016/j.compbiolchem.2004.09.006).
METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(1.0),
    "balanced_accuracy": Metric(1.0),
    "log_loss": Metric(0.0),
    "brier": Metric(0.0),
    "roc_auc": Metric(1.0),
    "average_precision": Metric(1.0),
    "f1": Metric(1.0),
    "mcc": Metric(1.0),
    "ece": Metric(0.0),
}


class Judged:
    """n rows with their classes, probabilities (n, C) and predicted classes, ready to be scored
    with any weights of the rows."""

    def __init__(
        self, actual: Codes, probabilities: Vector, predicted: Codes, positive: int | None
    ) -> None:
        self._classes = probabilities.shape[1]
        self._actual, self._predicted = actual, predicted
        self._probabilities, self._positive = probabilities, positive
        self._log_losses = log_losses(actual, probabilities)
        self._brier = brier(actual, probabilities)
        self._bins, self._excess = _confidence(actual, probabilities)
        if positive is not None:  # the rows by its probability, and where equal ones end
            column = probabilities[:, positive]
            self._order = np.argsort(column, kind="stable")
            self._ends = np.flatnonzero(np.diff(column[self._order], append=np.inf))
        # (n,) how much each row moves `roc_auc`, and its value.
        self._pulls, self._auc = self._placements()

    def metrics(self, weights: Vector | None = None) -> Metrics:
        """Every metric; None if it is not defined, for example without a row of a class."""
        values = self.values(np.ones(len(self._actual)) if weights is None else weights)
        return {name: finite(value) for name, value in zip(METRICS, values.tolist(), strict=True)}

    def errors(self, units: Units) -> Metrics:
        """The standard error of each metric over the units (n,) of the rows."""
        errors = weighted_jackknife(self.values, units)
        if errors is None:
            return dict.fromkeys(METRICS)
        found = {name: finite(error) for name, error in zip(METRICS, errors.tolist(), strict=True)}
        by_unit = np.bincount(np.unique(units, return_inverse=True)[1], self._pulls)
        error = finite(np.sqrt((by_unit**2).sum()) / len(self._actual))
        return found | {"roc_auc": None if np.isnan(self._auc) else error}

    def values(self, weights: Vector) -> Vector:
        """The metrics in the order of `METRICS`, NaN if one is not defined. Of `roc_auc`, that of
        equal weights."""
        total = weights.sum()
        counts = [
            np.bincount(codes, weights, minlength=self._classes)
            for codes in (self._actual, self._predicted)
        ]
        actual, predicted = counts
        right = self._actual == self._predicted
        hits = np.bincount(self._actual[right], weights[right], minlength=self._classes)
        own = weights / total
        with np.errstate(invalid="ignore", divide="ignore"):
            accuracy = hits.sum() / total
            gaps = np.bincount(self._bins, own * self._excess, minlength=ECE_BINS)
            return np.array(
                [
                    accuracy,
                    np.mean((hits / actual)[actual > 0]),
                    own @ self._log_losses,
                    own @ self._brier,
                    self._auc,
                    self._average_precision(weights),
                    np.mean(f1(hits, actual, predicted)[actual + predicted > 0]),
                    mcc(hits, actual, predicted),
                    np.abs(gaps).sum(),
                ]
            )

    def value(self, metric: str, weights: Vector) -> float:
        """One metric, NaN if it is not defined. These weights count for `roc_auc` too."""
        if metric == "roc_auc":
            return self._weighted_area(weights)
        return float(self.values(weights)[list(METRICS).index(metric)])

    @cached_property
    def _ranks(self) -> list[Codes]:
        """(n,) for each class that `roc_auc` needs: the place of a row's probability among the
        distinct ones."""
        needed = range(self._classes - (self._classes == 2))
        return [np.unique(self._probabilities[:, c], return_inverse=True)[1] for c in needed]

    def _weighted_area(self, weights: Vector) -> float:
        """As `_placements`."""
        areas = []
        for label, ranks in enumerate(self._ranks):
            own = self._actual == label
            ours, theirs = (np.bincount(ranks, np.where(part, weights, 0)) for part in (own, ~own))
            pairs = ours.sum() * theirs.sum()
            if pairs > 0:
                areas.append(ours @ (np.cumsum(theirs) - theirs / 2) / pairs)
        return float(np.mean(areas)) if areas else np.nan

    def _placements(self) -> tuple[Vector, float]:
        """The influence (n,) of rows on the area under the ROC curve, the mean over the classes
        that some rows, but not all, have; and the area.

        Each row of a class is placed among the others, and each of the others among them (DeLong,
        DeLong and Clarke-Pearson 1988, doi 10.2307/2531595). Of two classes one says all.
        """
        pulls, areas = np.zeros(len(self._actual)), []
        for label in range(self._classes - (self._classes == 2)):
            own = self._actual == label
            if own.all() or not own.any():
                continue
            column = self._probabilities[:, label]
            above, below = (_share_below(column[rows], column) for rows in (own, ~own))
            area = float(below[own].mean())
            areas.append(area)
            pulls += np.where(own, (below - area) / own.mean(), (1 - above - area) / (~own).mean())
        return pulls / max(1, len(areas)), float(np.mean(areas)) if areas else np.nan

    def _average_precision(self, weights: Vector) -> float:
        """Σ (R_i − R_{i−1}) P_i over the thresholds, without interpolation."""
        if self._positive is None:
            return np.nan
        order, ends = self._order, self._ends
        hits = np.where(self._actual[order] == self._positive, weights[order], 0.0)
        if hits.sum() == 0:
            return np.nan
        # From each distinct probability upwards, the highest first.
        starts = np.append(0, ends[:-1] + 1)[::-1]
        above, said = (np.cumsum(part[::-1])[::-1][starts] for part in (hits, weights[order]))
        gained = np.diff(above, prepend=0.0)
        some = said > 0  # the first rows may weigh nothing
        return float(gained[some] @ (above[some] / said[some]) / hits.sum())


def f1(hits: Counts, actual: Counts, predicted: Counts) -> Vector:
    """(…, C) harmonic means of precision and recall; 0 for a class that is never right."""
    found: Vector = 2 * hits / np.maximum(actual + predicted, np.finfo(float).tiny)
    return found


def mcc(hits: Counts, actual: Counts, predicted: Counts) -> Vector:
    """(…,) Matthews' correlation from counts (…, C); 0 if all rows have one class."""
    total = actual.sum(-1)
    covariance = hits.sum(-1) * total - (actual * predicted).sum(-1)
    spreads = (total**2 - (actual**2).sum(-1)) * (total**2 - (predicted**2).sum(-1))
    found: Vector = np.where(spreads > 0, covariance / np.sqrt(np.maximum(spreads, 1)), 0.0)
    return found


def row_terms(metric: str, actual: Codes, probabilities: Vector, predicted: Codes) -> Vector | None:
    """(n,) what the metric is the mean of; None: it is no mean over the rows."""
    match metric:
        case "accuracy":
            right: Vector = (actual == predicted).astype(np.float64)
            return right
        case "log_loss":
            return log_losses(actual, probabilities)
        case "brier":
            return brier(actual, probabilities)
    return None


def brier(actual: Codes, probabilities: Vector) -> Vector:
    """(n,) sums of squares over the classes."""
    true = np.take_along_axis(probabilities, actual[:, None], 1)[:, 0]
    scores: Vector = (probabilities**2).sum(1) - 2 * true + 1
    return scores


def log_losses(actual: Vector | Codes, predicted: Vector) -> Vector:
    """(n,) −log p of the true classes (n,), from probabilities (n, C)."""
    true = np.take_along_axis(predicted, actual.astype(np.int64)[:, None], 1)[:, 0]
    return negative_logs(true)


def negative_logs(probabilities: Vector) -> Vector:
    losses: Vector = -np.log(np.maximum(probabilities, LEAST))
    return losses


def by_class(actual: Codes, predicted: Codes, levels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows, precision, recall and F1 of each class; null if it has no rows, or is never
    predicted."""
    rows, said = (np.bincount(codes, minlength=len(levels)) for codes in (actual, predicted))
    hits = np.bincount(actual[actual == predicted], minlength=len(levels))
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = hits / said, hits / rows
    scores = f1(hits, rows, said)
    return [
        {
            "level": level,
            "rows": int(rows[place]),
            "precision": finite(precision[place]),
            "recall": finite(recall[place]),
            "f1": finite(scores[place]) if rows[place] else None,
        }
        for place, level in enumerate(levels)
    ]


def confusion(actual: Codes, predicted: Codes, levels: tuple[str, ...]) -> dict[str, Any]:
    """Rows by actual and predicted class; for many classes only the pairs that are confused most
    often."""
    count = len(levels)
    pairs, rows = np.unique(actual * count + predicted, return_counts=True)
    wrong = pairs // count != pairs % count
    worst = np.argsort(-rows[wrong], kind="stable")[:MOST_CONFUSED]
    matrix = None
    if count <= MOST_IN_MATRIX:
        cells = np.zeros(count * count, np.int64)
        cells[pairs] = rows
        matrix = cells.reshape(count, count).tolist()
    return {
        "levels": list(levels) if matrix is not None else None,
        "rows": matrix,
        "most_confused": [
            {"actual": levels[pair // count], "predicted": levels[pair % count], "rows": number}
            for pair, number in zip(
                pairs[wrong][worst].tolist(), rows[wrong][worst].tolist(), strict=True
            )
        ],
    }


def calibration_error(actual: Codes, probabilities: Vector) -> float:
    """`ece` of probabilities (n, C)."""
    bins, excess = _confidence(actual, probabilities)
    return float(np.abs(np.bincount(bins, excess)).sum() / len(actual))


def _confidence(actual: Codes, probabilities: Vector) -> tuple[Codes, Vector]:
    """(n,) the bin of the most probable class's probability, and by how much that exceeds 1 if the
    class is right, 0 if not."""
    surest = probabilities.max(1)
    excess: Vector = surest - (probabilities.argmax(1) == actual)
    return np.minimum((surest * ECE_BINS).astype(int), ECE_BINS - 1), excess


def _share_below(values: Vector, asked: Vector) -> Vector:
    """(n,) the share of `values` below each of `asked` (n,); equal ones count half."""
    ordered = np.sort(values)
    sides = [np.searchsorted(ordered, asked, side) for side in ("left", "right")]
    share: Vector = (sides[0] + sides[1]) / (2 * len(values))
    return share
