"""Kernel ridge regression on what each column contributes to a line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from torch import Tensor

from models.networks.fitted import FittedNetwork, Problem, Vector
from models.networks.population import Noise, Shape
from models.objectives.regression.leave_one_out import best_line
from models.planning.fitting import COORDINATES, landmarks_of
from models.spec import TrainingSpec
from models.spec.architectures import KernelArchitecture

# A scaled number's own coordinate, beside its contribution, which is 0 for a column that bends.
SHARE_OF_NUMBERS = 0.1
# Coordinates are weighted by so many rows: more changed the error by less than chance did.
WEIGHING_ROWS, WEIGHING_ROUNDS = 700, 3
CHUNK_ROWS = 2_000
NEAREST = 1e-9  # two rows nearer than this, in kernel widths, are the same
ATTEMPTS = 6  # at solving a system, each with a hundred times the ridge of the one before
JITTER = 1e-8  # of the mean diagonal, keeps a system of near-equal landmarks solvable


@dataclass(frozen=True)
class Space:
    """Where rows lie: `x @ projection − center`, in widths of the kernel.

    projection : (inputs, COORDINATES) float32; unused columns are 0
    center : (COORDINATES,) float32
    """

    projection: NDArray[np.float32]
    center: NDArray[np.float32]

    def place(self, x: NDArray[np.float32]) -> Vector:
        """(n, COORDINATES) of rows x (n, inputs)."""
        placed: Vector = x.astype(np.float64) @ self.projection - self.center
        return placed


class Kernel(FittedNetwork):
    """bias + Σ α exp(−distance to a landmark), with R landmarks per member: its training rows, or
    some of them.

    Input: (K, B, inputs). Output: (K, B, 1, 1).
    """

    projection: Tensor  # (K, inputs, COORDINATES)
    center: Tensor  # (K, 1, COORDINATES)
    landmarks: Tensor  # (K, R, COORDINATES)
    alpha: Tensor  # (K, R, 1), 0 for a landmark that a member doesn't have
    bias: Tensor  # (K, 1, 1)

    def __init__(self, members: int, shape: Shape, spec: TrainingSpec) -> None:
        super().__init__()
        architecture = spec.architecture
        assert isinstance(architecture, KernelArchitecture)
        self.penalty = architecture.penalty
        self.width = architecture.width
        self.columns = np.array(shape.columns)
        self.numeric = shape.numeric
        landmarks = landmarks_of(shape.rows)
        for name, size in (
            ("projection", (shape.inputs, COORDINATES)),
            ("center", (1, COORDINATES)),
            ("landmarks", (landmarks, COORDINATES)),
            ("alpha", (landmarks, 1)),
            ("bias", (1, 1)),
        ):
            self.register_buffer(name, torch.zeros(members, *size))

    def fit(self, place: int, problem: Problem) -> None:
        rng = np.random.default_rng(problem.seed)
        space = self._space(problem, rng)
        capacity = self.landmarks.shape[1]
        chosen = np.sort(rng.permutation(len(problem.y))[:capacity])
        # Rounded as they are kept, so that the weights fit what is served.
        landmarks = space.place(problem.x[chosen]).astype(np.float32).astype(np.float64)
        middle = float(np.average(problem.y, weights=problem.weights))
        target = problem.y - middle
        if len(chosen) == len(problem.y):
            ridge = _ridge(self.penalty, problem.weights, len(target))
            alpha = _solved(np.exp(-_distances(landmarks, landmarks)), ridge, target)
        else:
            alpha = _by_landmarks(space, landmarks, problem, target, self.penalty)
        if not np.isfinite(alpha).all():
            raise ValueError("the kernel's weights are not finite: use a larger penalty")
        self.projection[place] = torch.from_numpy(space.projection)
        self.center[place, 0] = torch.from_numpy(space.center)
        for buffer, values in ((self.landmarks, landmarks), (self.alpha, alpha[:, None])):
            buffer[place] = 0
            buffer[place, : len(values)] = torch.from_numpy(values)
        self.bias[place] = middle

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:  # noqa: ARG002
        # In float64, because squares of near rows cancel, and so do large weights.
        placed = torch.bmm(x.double(), self.projection.double()) - self.center.double()
        landmarks = self.landmarks.double()
        # (K, R, B): onnxruntime copies a product's right side at each call, and all landmarks there
        # would take it three times as long as the rest, for one row.
        products = torch.bmm(landmarks, placed.transpose(1, 2))
        squares = landmarks.square().sum(2, keepdim=True) + placed.square().sum(2).unsqueeze(1)
        near = torch.exp(-torch.sqrt((squares - 2 * products).clamp(min=0)))
        output = torch.baddbmm(self.bias.double(), self.alpha.double().transpose(1, 2), near)
        return output.to(x.dtype).transpose(1, 2).unsqueeze(2)

    def _space(self, problem: Problem, rng: np.random.Generator) -> Space:
        """A recursive feature machine (Radhakrishnan et al. 2024, doi 10.1126/science.adi5639) with
        a diagonal matrix: coordinates are weighted by how steep the prediction is along them."""
        contributions = self._contributions(problem)
        some = rng.permutation(len(problem.y))[:WEIGHING_ROWS]
        rows = problem.x[some].astype(np.float64) @ contributions
        rows -= np.median(rows, axis=0)
        target = problem.y[some] - problem.y[some].mean()
        weights = None if problem.weights is None else problem.weights[some]
        sizes = np.ones(rows.shape[1])
        for _ in range(WEIGHING_ROUNDS):
            sizes = _steepness(rows, sizes, target, weights, self.penalty, self.width)
        heaviest = np.argsort(-sizes * rows.var(0), kind="stable")[:COORDINATES]
        roots = np.sqrt(sizes[heaviest])
        width = _width(_distances(rows[:, heaviest] * roots, rows[:, heaviest] * roots), self.width)
        projection = np.zeros((len(contributions), COORDINATES), np.float32)
        projection[:, : len(heaviest)] = contributions[:, heaviest] * (roots / width)
        # Most rows should lie near the origin, where their squared distances lose no digits.
        center = np.median(problem.x[some].astype(np.float64) @ projection, axis=0)
        return Space(projection, center.astype(np.float32))

    def _contributions(self, problem: Problem) -> Vector:
        """(inputs, coordinates) that take inputs to what each column adds to a line, and to the
        numbers themselves."""
        line = best_line(problem.x.astype(np.float64), problem.y, problem.weights)
        names, places = np.unique(self.columns, return_inverse=True)
        inputs = np.arange(len(places))
        matrix = np.zeros((len(places), len(names) + self.numeric))
        matrix[inputs, places] = line.weight
        numbers = inputs[: self.numeric]
        matrix[numbers, len(names) + numbers] = SHARE_OF_NUMBERS
        return matrix


def _steepness(
    rows: Vector,
    sizes: Vector,
    target: Vector,
    weights: Vector | None,
    penalty: float,
    factor: float,
) -> Vector:
    """(coordinates,) new sizes, at most 1: the root mean squared slope of the regression that has
    the given ones.

    rows : (n, coordinates) without sizes
    """
    scaled = rows * np.sqrt(sizes)
    distances = _distances(scaled, scaled)
    width = _width(distances, factor)
    kernel = np.exp(-distances / width)
    alpha = _solved(kernel, _ridge(penalty, weights, len(rows)), target)
    # The slope of k(x, z) at x is −k (x − z) sizes / (width · distance); at x = z it has none.
    pull = kernel * alpha / np.maximum(distances, NEAREST * width)
    np.fill_diagonal(pull, 0.0)
    slopes = (pull @ rows - pull.sum(1, keepdims=True) * rows) * sizes / width
    steepness: Vector = np.sqrt(np.square(slopes).mean(0))
    steepest = steepness.max()
    return steepness / steepest if np.isfinite(steepest) and steepest > 0 else sizes


def _by_landmarks(
    space: Space, landmarks: Vector, problem: Problem, target: Vector, penalty: float
) -> Vector:
    """(Kₙᵣᵀ W Kₙᵣ + λ Kᵣᵣ) α = Kₙᵣᵀ W y, the Nyström method (Williams and Seeger 2001)."""
    squares = penalty * np.exp(-_distances(landmarks, landmarks))
    products = np.zeros(len(landmarks))
    for start in range(0, len(target), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        near = np.exp(-_distances(space.place(problem.x[chunk]), landmarks))
        weighted = near if problem.weights is None else near * problem.weights[chunk, None]
        squares += weighted.T @ near
        products += weighted.T @ target[chunk]
    jitter = np.full(len(landmarks), JITTER * float(np.trace(squares)) / len(landmarks))
    return _solved(squares, jitter, products)


def _ridge(penalty: float, weights: Vector | None, rows: int) -> Vector:
    """What is added to a kernel matrix's diagonal; a row without weight gets no say."""
    return penalty / (np.ones(rows) if weights is None else np.maximum(weights, NEAREST))


def _solved(matrix: Vector, ridge: Vector, target: Vector) -> Vector:
    """(matrix + diag(ridge))⁻¹ target; the matrix is kept.

    Distances between rows far from all others lose digits, so the matrix may not be definite. Then
    a larger ridge makes it so.
    """
    for attempt in range(ATTEMPTS):
        system = matrix.copy()
        system[np.diag_indices(len(system))] += ridge * 100.0**attempt
        try:
            factor = cho_factor(system, lower=True, overwrite_a=True)
        except LinAlgError:
            continue
        solved: Vector = cho_solve(factor, target)
        return solved
    raise ValueError("the kernel can't be solved: use a larger penalty")


def _distances(rows: Vector, others: Vector) -> Vector:
    """(n, m) Euclidean distances."""
    squares = np.square(rows).sum(1)[:, None] + np.square(others).sum(1) - 2 * rows @ others.T
    distances: Vector = np.sqrt(np.maximum(squares, 0.0))
    return distances


def _width(distances: Vector, factor: float) -> float:
    """The kernel's width: the median distance, times a factor; 1 if most rows are equal."""
    return factor * float(np.median(distances)) or 1.0
