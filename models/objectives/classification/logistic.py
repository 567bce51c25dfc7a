"""Logistic regression: the best line for classes, and a baseline."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from models.objectives.base import Vector
from models.objectives.classification.metrics import log_losses
from models.objectives.classification.probabilities import SMOOTHING
from models.objectives.learning import LinearProblem

# Larger problems, by rows · inputs · classes, take more than a few seconds.
MOST_PRODUCTS = 2e8
# Seconds for one product on one core, over all iterations; measured.
PRODUCT_SECONDS = 3e-8
ITERATIONS = 200
# Inverse strengths of the L2 penalty that a baseline chooses from, on a part of its rows.
STRENGTHS = (0.01, 0.1, 1.0, 10.0)
CHOOSING = 0.2


def solve(problem: LinearProblem) -> tuple[Vector, Vector]:
    """Softmax regression with an L2 penalty of half the squared weights; zeros for a problem that
    is too large, or has a single class."""
    shape = (problem.inputs, problem.outputs)
    is_large = len(problem) * problem.inputs * problem.outputs > MOST_PRODUCTS
    if is_large or np.ptp(problem.y) == 0:
        return np.zeros(shape), np.zeros(problem.outputs)
    x = np.concatenate([problem.x(chunk) for chunk in range(problem.chunks)])
    fitted = _fit(x, problem.y, 1.0)
    weights, biases = np.zeros(shape), np.full(problem.outputs, -np.inf)
    seen = fitted.classes_.astype(int)
    if len(seen) == 2:  # one function, for the second class
        halves = np.array([-0.5, 0.5])
        weights[:, seen] = fitted.coef_.T * halves
        biases[seen] = fitted.intercept_ * halves
    else:
        weights[:, seen], biases[seen] = fitted.coef_.T, fitted.intercept_
    # A class that no row has starts as improbable as the rarest one.
    return weights, np.where(np.isinf(biases), biases[seen].min(), biases)


class LogisticBaseline:
    """Logistic regression whose strength is chosen on a fifth of its rows."""

    def __init__(self, classes: int) -> None:
        self._classes = classes

    def predict(self, x: Vector, y: Vector, asked: Vector, seed: int) -> Vector:
        order = np.random.default_rng(seed).permutation(len(y))
        cut = round(CHOOSING * len(y))
        judged, learnt = order[:cut], order[cut:]
        losses = [
            log_losses(y[judged], self._predict(x[learnt], y[learnt], strength, x[judged])).mean()
            for strength in STRENGTHS
        ]
        return self._predict(x, y, STRENGTHS[int(np.argmin(losses))], asked)

    def seconds(self, rows: int, inputs: int, outputs: int) -> float:
        return (len(STRENGTHS) + 1) * PRODUCT_SECONDS * rows * inputs * outputs

    def _predict(self, x: Vector, y: Vector, inverse_strength: float, asked: Vector) -> Vector:
        """A class that no row has gets a part of a row's share."""
        seen = np.unique(y).astype(int)
        found = np.full((len(asked), self._classes), SMOOTHING / len(y))
        found[:, seen] = 1
        if len(seen) > 1:
            found[:, seen] = _fit(x, y, inverse_strength).predict_proba(asked)
        shares: Vector = found / found.sum(1, keepdims=True)
        return shares


class MajorityBaseline:
    """The classes' shares of the training rows, none of them 0: always the largest class."""

    def __init__(self, classes: int) -> None:
        self._classes = classes

    def predict(self, x: Vector, y: Vector, asked: Vector, seed: int) -> Vector:  # noqa: ARG002
        rows = np.bincount(y.astype(int), minlength=self._classes) + SMOOTHING
        return np.tile(rows / rows.sum(), (len(asked), 1))

    def seconds(self, rows: int, inputs: int, outputs: int) -> float:  # noqa: ARG002
        return 0.0


def _fit(x: Vector, y: Vector, inverse_strength: float) -> LogisticRegression:
    model = LogisticRegression(C=inverse_strength, max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)
