"""Ridge regression whose penalty has the lowest error on rows left out one at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.objectives.base import Vector

# Added to the sum of squares of each input; scaled inputs have a sum of about one per row.
PENALTIES = np.logspace(-1, 5, 31)
# Rows or inputs, whichever are fewer: about a minute per fold.
LARGEST_SYSTEM = 6_000
# A row that the line goes through whatever its target, such as the only one of a level, has a
# leverage of 1, and its left-out error is 0 / 0.
SMALLEST_FREEDOM = 1e-9
SOLVING_RATE = 8e9  # multiplications a second in float64, on one core


@dataclass(frozen=True)
class Line:
    """ŷ = x · weight + bias.

    error : the mean squared error of the rows left out, at the chosen `penalty`
    """

    weight: Vector
    bias: float
    penalty: float
    error: float


def best_line(x: Vector, y: Vector, weights: Vector | None = None) -> Line:
    """The line through rows x (n, inputs) and targets y (n,) with weights (n,).

    One eigendecomposition gives every penalty's left-out errors, residual / (1 − leverage) (Allen
    1974, doi 10.1080/00401706.1974.10489157; Golub, Heath and Wahba 1979).

    Raises
    ------
    ValueError: the system is too large.
    """
    if min(x.shape) > LARGEST_SYSTEM:
        raise ValueError(
            f"{len(x):,} rows of {x.shape[1]:,} inputs are too many to solve: use 'linear', or "
            "exclude columns of many levels"
        )
    shares = np.ones(len(y)) if weights is None else weights
    shares = shares / shares.sum()
    mean, middle = shares @ x, float(shares @ y)
    roots = np.sqrt(shares * len(y))
    centred, target = (x - mean) * roots[:, None], (y - middle) * roots
    sizes, axes, scores = _decomposed(centred)
    along = scores.T @ target
    best: tuple[float, float, Vector] | None = None
    for penalty in PENALTIES[::-1]:
        damped = sizes + penalty
        # Unscaled inputs may differ by so many orders of magnitude that small sizes are rounding.
        felt = damped > damped.max(initial=0.0) * len(damped) * np.finfo(np.float64).eps
        inverse = np.where(felt, 1 / damped, 0.0)
        leverage = shares + np.square(scores) @ inverse
        left_out = (target - scores @ (inverse * along)) / np.maximum(
            1 - leverage, SMALLEST_FREEDOM
        )
        error = float(np.square(left_out).mean())
        if best is None or error < best[0]:
            best = error, float(penalty), inverse * along
    assert best is not None
    error, penalty, solved = best
    weight = axes @ solved
    return Line(weight, middle - float(mean @ weight), penalty, error)


def line_seconds(rows: int, inputs: int) -> float:
    """About how long `best_line` takes on one core."""
    smaller = min(rows, inputs)
    return (rows * inputs * smaller + 10 * smaller**3) / SOLVING_RATE


def _decomposed(x: Vector) -> tuple[Vector, Vector, Vector]:
    """The r squared singular values of x (n, inputs), its axes (inputs, r), and the rows along
    them, (n, r); r is the smaller of n and inputs."""
    if x.shape[1] <= len(x):
        sizes, axes = np.linalg.eigh(x.T @ x)
        return np.maximum(sizes, 0.0), axes, x @ axes
    sizes, rows = np.linalg.eigh(x @ x.T)
    sizes = np.maximum(sizes, 0.0)
    lengths = np.sqrt(sizes)
    felt = lengths > lengths.max() * len(x) * np.finfo(np.float64).eps
    axes = x.T @ (rows * np.where(felt, 1 / np.where(felt, lengths, 1.0), 0.0))
    return sizes, axes, rows * lengths
