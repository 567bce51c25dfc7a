"""Ridge regression: the best line for a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from models.objectives.base import Vector
from models.objectives.learning import LinearProblem

# Added to the sum of squares of each input, like scikit-learn's Ridge. Scaled inputs have a sum of
# about one per row, so it matters only for rare levels or few rows.
DAMPING = 1.0
# The system is solved up to this many rows or inputs, whichever are fewer: a second per fold. Above
# it, weights start at zero; so many rows give thousands of steps.
LARGEST_SYSTEM = 2_048


def ridge(problem: LinearProblem) -> tuple[Vector, Vector]:
    """Each output gets the same weights; zeros if the system is too large."""
    count, width = len(problem), problem.inputs
    if min(count, width) > LARGEST_SYSTEM:
        return np.zeros((width, problem.outputs)), np.zeros(problem.outputs)
    sums, sizes = np.zeros(width), []
    for place in range(problem.chunks):
        part = problem.x(place)
        sums += part.sum(0)
        sizes.append(len(part))
    mean, middle = sums / count, float(problem.y.mean())
    y = np.split(problem.y - middle, np.cumsum(sizes)[:-1])

    def x(place: int) -> Vector:
        return problem.x(place) - mean

    weight = _of_inputs(x, y) if width <= count else _of_rows(x, y)
    weights = np.repeat(weight[:, None], problem.outputs, axis=1)
    return weights, np.full(problem.outputs, middle - float(mean @ weight))


def _of_inputs(x: Callable[[int], Vector], y: Sequence[Vector]) -> Vector:
    """(XᵀX + d)⁻¹ Xᵀy, if there are fewer inputs than rows."""
    first = x(0)
    squares, products = first.T @ first, first.T @ y[0]
    for place in range(1, len(y)):
        part = x(place)
        squares += part.T @ part
        products += part.T @ y[place]
    return _damped(squares, products)


def _of_rows(x: Callable[[int], Vector], y: Sequence[Vector]) -> Vector:
    """Xᵀ (XXᵀ + d)⁻¹ y, the same result, if there are fewer rows."""
    chunks = range(len(y))
    squares = np.block([[x(i) @ x(j).T for j in chunks] for i in chunks])
    solved = _damped(squares, np.concatenate(y))
    shares = np.split(solved, np.cumsum([len(part) for part in y])[:-1])
    weight: Vector = np.sum([x(i).T @ shares[i] for i in chunks], axis=0)
    return weight


def _damped(squares: Vector, products: Vector) -> Vector:
    """Solve (squares + d) w = products by eigenvalues. Unscaled inputs may differ by so many orders
    of magnitude that other methods may not converge or not stay finite."""
    sizes, axes = np.linalg.eigh(squares)
    damped = np.maximum(sizes, 0.0) + DAMPING
    felt = damped > damped.max() * len(damped) * np.finfo(np.float64).eps
    solved: Vector = axes @ np.where(felt, (axes.T @ products) / damped, 0.0)
    return solved
