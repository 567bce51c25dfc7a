"""The ridge regression against scikit-learn's, and rows left out against leaving them out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exporting import exported
from sklearn.linear_model import Ridge as PlainRidge
from sklearn.linear_model import RidgeCV

from models.networks.fitted import Problem
from models.networks.population import Shape
from models.networks.ridge import Ridge
from models.objectives.regression.leave_one_out import LARGEST_SYSTEM, PENALTIES, best_line
from models.spec import TrainingSpec

SPEC = TrainingSpec.model_validate({"target": "price", "architecture": {"type": "ridge"}})


def rows_of(rows: int, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, inputs))
    return x, x[:, 0] - 0.5 * x[:, 1] + rng.normal(size=rows)


def network_of(inputs: int, members: int = 1) -> Ridge:
    return Ridge(members, Shape(inputs, inputs, 1, tuple(range(inputs)), 100), SPEC)


@pytest.mark.parametrize(("rows", "inputs"), [(60, 8), (20, 50), (30, 30)])
def test_the_line_is_scikit_learns(rows: int, inputs: int) -> None:
    x, y = rows_of(rows, inputs)
    line = best_line(x, y)
    plain = RidgeCV(alphas=PENALTIES).fit(x, y)
    assert line.penalty == plain.alpha_
    np.testing.assert_allclose(line.weight, plain.coef_, rtol=1e-7, atol=1e-9)
    assert line.bias == pytest.approx(plain.intercept_)


@pytest.mark.parametrize(("rows", "inputs"), [(30, 4), (12, 20)])
def test_its_error_is_that_of_rows_left_out(rows: int, inputs: int) -> None:
    x, y = rows_of(rows, inputs)
    line = best_line(x, y)
    errors = []
    for left in range(rows):
        others = np.arange(rows) != left
        plain = PlainRidge(alpha=line.penalty).fit(x[others], y[others])
        errors.append(y[left] - plain.predict(x[[left]])[0])
    assert line.error == pytest.approx(np.square(errors).mean())


def test_weights_are_scikit_learns() -> None:
    x, y = rows_of(60, 8)
    weights = np.random.default_rng(1).uniform(0.1, 3, 60)
    weights /= weights.mean()
    line = best_line(x, y, weights)
    plain = PlainRidge(alpha=line.penalty).fit(x, y, sample_weight=weights)
    np.testing.assert_allclose(line.weight, plain.coef_)
    assert line.bias == pytest.approx(plain.intercept_)


def test_noise_gets_the_largest_penalty() -> None:
    x, _ = rows_of(40, 10)
    y = np.random.default_rng(5).normal(size=40)
    assert best_line(x, y).penalty > best_line(x, x[:, 0] + 0.01 * y).penalty


def test_a_system_too_large_is_refused() -> None:
    size = LARGEST_SYSTEM + 1
    x = np.broadcast_to(np.zeros(1), (size, size))
    with pytest.raises(ValueError, match="use 'linear'"):
        best_line(x, np.zeros(size))


HOSTILE = {
    "constant columns": (np.ones((50, 3)), np.arange(50.0)),
    "one row": (np.ones((1, 3)), np.ones(1)),
    "huge": (np.random.default_rng(0).normal(size=(50, 3)) * [1e12, 1.0, 1e-12], np.arange(50.0)),
    "huge and wide": (np.random.default_rng(0).normal(size=(5, 9)) * 1e12, np.arange(5.0)),
    "constant y": (np.random.default_rng(0).normal(size=(50, 3)), np.full(50, 2.5)),
    "a row with its own level": (np.eye(4)[:, :3], np.array([1.0, 5.0, 2.0, 2.0])),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tables_give_finite_predictions(name: str) -> None:
    x, y = HOSTILE[name]
    network = network_of(x.shape[1])
    network.fit(0, Problem(x.astype(np.float32), y, None, 1, 0))
    asked = torch.tensor([[0.0], [1e12], [-1e12]]).expand(1, 3, x.shape[1])
    assert torch.isfinite(network.predict(asked)).all()
    if name in ("constant columns", "one row", "constant y"):
        np.testing.assert_allclose(network.predict(asked), y.mean(), atol=1e-5)


def test_the_exported_graph_predicts_the_same() -> None:
    network = network_of(6, members=2)
    for place in range(2):
        x, y = rows_of(50 + place, 6)
        network.fit(place, Problem(x.astype(np.float32), y, None, 1, 0))
    run = exported(network, 6)
    for rows in (1, 2, 300):
        given = torch.randn(rows, 6, dtype=torch.float64)
        expected = network.predict(given.float().expand(2, -1, -1))
        np.testing.assert_allclose(run(given.numpy()), expected.numpy(), atol=1e-6)
