"""Logistic regression: the best line for classes."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from models.objectives.base import Vector
from models.objectives.learning import LinearProblem

# Larger problems, by rows · inputs · classes, take more than a few seconds.
MOST_PRODUCTS = 2e8
ITERATIONS = 200


def solve(problem: LinearProblem) -> tuple[Vector, Vector]:
    """Softmax regression with an L2 penalty of half the squared weights; zeros for a problem that
    is too large, or has a single class."""
    shape = (problem.inputs, problem.outputs)
    is_large = len(problem) * problem.inputs * problem.outputs > MOST_PRODUCTS
    if is_large or np.ptp(problem.y) == 0:
        return np.zeros(shape), np.zeros(problem.outputs)
    x = np.concatenate([problem.x(chunk) for chunk in range(problem.chunks)])
    fitted = logistic(x, problem.y, 1.0)
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


def logistic(x: Vector, y: Vector, inverse_strength: float) -> LogisticRegression:
    """Fitted, with an L2 penalty."""
    model = LogisticRegression(C=inverse_strength, max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)
