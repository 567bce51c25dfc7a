"""Initial weights of a linear model: ridge regression on the fold's training rows.

Adam moves a weight by about its rate per step, and a small table has too few steps to get far from
random weights. From least squares, it only has to move on to the spec's own loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.members import Member
from models.networks.population import Network
from models.training.inputs import Inputs
from models.training.ragged import RaggedRows

# Added to the sum of squares of each input, like scikit-learn's Ridge. Scaled inputs have a sum of
# about one per row, so it matters only for rare levels or few rows.
DAMPING = 1.0
# The system is solved up to this many rows or inputs, whichever are fewer: a second per fold. Above
# it, weights start at zero; so many rows give thousands of steps.
LARGEST_SYSTEM = 2_048
CHUNK_ROWS = 256

Matrix = NDArray[np.float64]


def start_at_least_squares(network: Network, members: Sequence[Member], inputs: Inputs) -> None:
    """Fill the weights of members whose spec starts from least squares, in place."""
    solved: dict[int, tuple[Matrix, float]] = {}
    [layer] = network.linear_layers()
    for place, member in enumerate(members):
        if member.spec.architecture.initialization != "least_squares":
            continue
        if member.fold not in solved:
            solved[member.fold] = _solve(inputs.of([member.fold]), inputs.train_rows[member.fold])
        weight, bias = solved[member.fold]
        with torch.no_grad():
            # Each output begins as the one that predicts the standardised target.
            layer.weight[place] = torch.from_numpy(weight).unsqueeze(1)
            layer.bias[place] = bias


def _solve(inputs: Inputs, rows: torch.Tensor) -> tuple[Matrix, float]:
    """weight (inputs,) and bias; zeros if the system is too large."""
    count, width = len(rows), inputs.shape.inputs
    if min(count, width) > LARGEST_SYSTEM:
        return np.zeros(width), 0.0
    chosen = RaggedRows.pad([rows], inputs.dtype, inputs.device)
    chunks = [chosen.span(start, start + CHUNK_ROWS) for start in range(0, count, CHUNK_ROWS)]
    y = np.concatenate([inputs.targets(chunk)[0].double().cpu().numpy() for chunk in chunks])
    sums = sum(inputs.rows(chunk)[0].double().sum(0) for chunk in chunks)
    assert isinstance(sums, torch.Tensor)
    mean, middle = (sums / count).cpu().numpy(), float(y.mean())
    y = y - middle

    def x(place: int) -> Matrix:
        centred: Matrix = inputs.rows(chunks[place])[0].double().cpu().numpy() - mean
        return centred

    weight = _of_inputs(x, y, len(chunks)) if width <= count else _of_rows(x, y, len(chunks))
    return weight, middle - float(mean @ weight)


def _of_inputs(x: Callable[[int], Matrix], y: Matrix, chunks: int) -> Matrix:
    """(XᵀX + d)⁻¹ Xᵀy, if there are fewer inputs than rows."""
    parts = np.split(y, range(CHUNK_ROWS, len(y), CHUNK_ROWS))
    first = x(0)
    squares, products = first.T @ first, first.T @ parts[0]
    for place in range(1, chunks):
        part = x(place)
        squares += part.T @ part
        products += part.T @ parts[place]
    return _damped(squares, products)


def _of_rows(x: Callable[[int], Matrix], y: Matrix, chunks: int) -> Matrix:
    """Xᵀ (XXᵀ + d)⁻¹ y, the same result, if there are fewer rows."""
    squares = np.block([[x(i) @ x(j).T for j in range(chunks)] for i in range(chunks)])
    shares = np.split(_damped(squares, y), range(CHUNK_ROWS, len(y), CHUNK_ROWS))
    weight: Matrix = np.sum([x(i).T @ shares[i] for i in range(chunks)], axis=0)
    return weight


def _damped(squares: Matrix, products: Matrix) -> Matrix:
    """Solve (squares + d) w = products by eigenvalues. Unscaled inputs may differ by so many orders
    of magnitude that other methods may not converge or not stay finite."""
    sizes, axes = np.linalg.eigh(squares)
    damped = np.maximum(sizes, 0.0) + DAMPING
    felt = damped > damped.max() * len(damped) * np.finfo(np.float64).eps
    solved: Matrix = axes @ np.where(felt, (axes.T @ products) / damped, 0.0)
    return solved
