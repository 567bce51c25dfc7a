"""The probability from which the positive one of two classes is predicted."""

from __future__ import annotations

import numpy as np

from models.objectives.base import Vector
from models.objectives.classification.metrics import f1, mcc
from models.spec import Costs, Decision

# Thresholds that are tried: quantiles of the probabilities.
MOST_TRIED = 1_000


def best_threshold(decision: Decision, positive: Vector, probability: Vector) -> float:
    """The spec's own, or the one that its metric or its costs prefer on rows (n,) that the model
    did not see: `positive` 1 or 0, and the probability of that. Of equals the nearest to 0.5."""
    wanted = decision.threshold
    if isinstance(wanted, float):
        return wanted
    tried = np.unique(np.quantile(probability, np.linspace(0, 1, MOST_TRIED)))
    # Between two probabilities, so that rounding moves no row; below and above all of them.
    tried = np.concatenate([[0.0], tried, [1.0]])
    tried = np.unique([0.5, *(tried[1:] + tried[:-1]) / 2])
    order = np.argsort(probability)
    hits = np.append(np.cumsum(positive[order][::-1])[::-1], 0.0)
    first = np.searchsorted(probability[order], tried)
    rows, actual = len(positive), positive.sum()
    true_positive, said = hits[first], (rows - first).astype(float)
    true_negative = rows - actual - (said - true_positive)
    # (T, 2) of the negative and the positive class.
    right = np.stack([true_negative, true_positive], 1)
    actuals = np.broadcast_to([rows - actual, actual], right.shape)
    predicted = np.stack([rows - said, said], 1)
    match wanted:
        case Costs():
            wrong = wanted.false_positive * (said - true_positive)
            score = -(wrong + wanted.false_negative * (actual - true_positive))
        case "accuracy":
            score = right.sum(1)
        case "balanced_accuracy":
            score = (right / np.maximum(actuals, 1)).mean(1)
        case "f1":
            score = f1(right, actuals, predicted).mean(1)
        case "mcc":
            score = mcc(right, actuals, predicted)
    best = tried[score >= score.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])
