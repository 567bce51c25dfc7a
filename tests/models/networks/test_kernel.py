"""Kernel ridge regression against scikit-learn's with the same kernel matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from exporting import exported
from sklearn.kernel_ridge import KernelRidge
from torch import Tensor

from models.networks import kernel
from models.networks.fitted import Problem
from models.networks.kernel import Kernel
from models.networks.population import Shape
from models.planning import fitting
from models.spec import TrainingSpec

# Three numbers, and a column of two levels.
INPUTS, COLUMNS = 5, (0, 1, 2, 3, 3)


def network_of(members: int = 1, rows: int = 200, **settings: Any) -> Kernel:
    given = {"target": "price", "architecture": {"type": "kernel"} | settings}
    spec = TrainingSpec.model_validate(given)
    return Kernel(members, Shape(3, INPUTS, 1, COLUMNS, rows), spec)


def problem_of(seed: int = 0, rows: int = 200) -> Problem:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, INPUTS)).astype(np.float32)
    x[:, 3] = rng.integers(0, 2, rows)
    x[:, 4] = 1 - x[:, 3]
    y = np.sin(2 * x[:, 0]) + x[:, 0] + x[:, 3] + 0.1 * rng.normal(size=rows)
    return Problem(x, y.astype(np.float64), None, 1, seed)


def predicted(network: Kernel, x: np.ndarray) -> np.ndarray:
    """(B,) of the first member."""
    rows = torch.from_numpy(x).expand(len(network.bias), -1, -1)
    return network.predict(rows)[0, :, 0].numpy()


def placed(network: Kernel, x: np.ndarray) -> Tensor:
    """(B, coordinates) in widths of the kernel."""
    return torch.from_numpy(x).double() @ network.projection[0].double() - network.center[0]


def kernel_matrix(rows: Tensor, others: Tensor) -> np.ndarray:
    return torch.exp(-(rows.unsqueeze(1) - others.unsqueeze(0)).norm(dim=2)).numpy()


@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_scikit_learns(weighted: bool) -> None:
    network, plain = network_of(penalty=0.1), KernelRidge(alpha=0.1, kernel="precomputed")
    problem, asked = problem_of(0), problem_of(1).x
    weights = np.random.default_rng(2).uniform(0.1, 2, 200) if weighted else None
    problem = Problem(problem.x, problem.y, weights, 1, 0)
    network.fit(0, problem)
    rows, middle = placed(network, problem.x), np.average(problem.y, weights=weights)
    plain.fit(kernel_matrix(rows, rows), problem.y - middle, sample_weight=weights)
    expected = plain.predict(kernel_matrix(placed(network, asked), rows)) + middle
    np.testing.assert_allclose(predicted(network, asked), expected, atol=1e-4)


def test_nearly_all_rows_as_landmarks_are_nearly_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, asked = problem_of(0), problem_of(1).x
    exact = network_of()
    exact.fit(0, problem)
    monkeypatch.setattr(fitting, "MOST_EXACT_ROWS", 100)
    monkeypatch.setattr(fitting, "LANDMARKS", 199)
    nearly = network_of()
    nearly.fit(0, problem)
    assert nearly.landmarks.shape[1] == 199
    np.testing.assert_allclose(predicted(nearly, asked), predicted(exact, asked), atol=0.02)


def test_columns_that_matter_are_stretched() -> None:
    network = network_of()
    network.fit(0, problem_of())
    reach = network.projection[0].abs().sum(1)
    assert reach[0] > 5 * reach[1:3].max()


def test_slopes_are_those_of_the_regression() -> None:
    """Against autograd."""
    rng = np.random.default_rng(0)
    rows, sizes, target = rng.normal(size=(30, 3)), np.array([1.0, 0.5, 0.1]), rng.normal(size=30)
    found = kernel._steepness(rows, sizes, target, None, 0.1, 1.0)
    x = torch.tensor(rows)
    scaled = x * torch.tensor(sizes).sqrt()
    width = torch.from_numpy(kernel._distances(scaled.numpy(), scaled.numpy())).quantile(0.5)
    matrix = torch.exp(-torch.cdist(scaled, scaled) / width)
    alpha = torch.linalg.solve(matrix + 0.1 * torch.eye(30), torch.tensor(target))
    slopes = []
    for place in range(30):
        others = torch.arange(30) != place
        asked = x[place].clone().requires_grad_()
        distance = ((asked - x[others]) * torch.tensor(sizes).sqrt()).norm(dim=1)
        (torch.exp(-distance / width) @ alpha[others]).backward()
        slopes.append(asked.grad)
    expected = torch.stack(slopes).square().mean(0).sqrt().numpy()
    np.testing.assert_allclose(found, expected / expected.max(), rtol=1e-6)


def test_the_same_problem_gives_the_same_bits() -> None:
    network = network_of(3, rows=50)
    for place, seed in enumerate((0, 0, 1)):
        network.fit(place, Problem(problem_of(0, 50).x, problem_of(0, 50).y, None, 1, seed))
    for buffer in network.buffers():
        assert torch.equal(buffer[0], buffer[1])


def test_a_smaller_fold_leaves_nothing_of_a_larger_one() -> None:
    network, fresh = network_of(), network_of()
    network.fit(0, problem_of())
    for each in (network, fresh):
        each.fit(0, problem_of(3, 40))
    for old, new in zip(network.buffers(), fresh.buffers(), strict=True):
        assert torch.equal(old, new)
    assert network.alpha[0, 40:].count_nonzero() == 0


def test_near_rows_are_told_apart() -> None:
    """Squared distances of far rows lose 1e-7 of their size in float32."""
    network = network_of(penalty=1e-6)
    problem = problem_of()
    problem.x[:] += 1000
    network.fit(0, problem)
    np.testing.assert_allclose(predicted(network, problem.x), problem.y, atol=1e-3)


def hostile() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    rows = problem_of(0, 50).x
    yield "constant columns", np.ones((50, INPUTS), np.float32), np.arange(50.0)
    yield "one row", np.ones((1, INPUTS), np.float32), np.ones(1)
    yield "huge", rows * np.float32(1e12), np.arange(50.0)
    yield "one huge cell", rows + np.float32(1e12) * np.eye(50, INPUTS, dtype="f"), np.arange(50.0)
    yield "constant y", rows, np.full(50, 2.5)
    yield "equal rows", np.repeat(rows[:2], 25, axis=0), np.repeat([1.0, 3.0], 25)


@pytest.mark.parametrize(("name", "x", "y"), list(hostile()))
def test_hostile_tables_give_finite_predictions(name: str, x: np.ndarray, y: np.ndarray) -> None:
    network = network_of()
    network.fit(0, Problem(x, y, None, 1, 0))
    asked = np.concatenate([np.array([[0.0], [1e12], [-1e12]], "f").repeat(INPUTS, 1), x])
    found = predicted(network, asked)
    assert np.isfinite(found).all()
    if name in ("one row", "constant y", "constant columns"):
        np.testing.assert_allclose(found, y.mean(), rtol=1e-5)
    if name == "equal rows":
        np.testing.assert_allclose(found[3:], y, atol=0.02)


def test_the_exported_graph_predicts_the_same() -> None:
    network = network_of(2)
    for place in range(2):
        network.fit(place, problem_of(place, 200 - place))
    run = exported(network, INPUTS)
    for rows in (1, 2, 300):
        x = problem_of(0, rows).x  # the first 200 are the first member's own
        rows_twice = torch.from_numpy(x).expand(2, -1, -1)
        expected = network.predict(rows_twice).numpy()
        np.testing.assert_allclose(run(x.astype(np.float64)), expected, atol=1e-6)
