"""What holds of every architecture that is solved instead of trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.members import Member
from models.networks import ARCHITECTURES, build_network
from models.networks.fitted import FittedNetwork, Problem
from models.networks.population import Shape, take
from models.spec import TrainingSpec

FITTED = [name for name, kind in ARCHITECTURES.items() if issubclass(kind, FittedNetwork)]


def network_of(name: str, members: int) -> FittedNetwork:
    """For four numbers and two levels."""
    spec = TrainingSpec.model_validate({"target": "price", "architecture": {"type": name}})
    assert spec.architecture.is_fitted
    columns = (0, 1, 2, 3, 4, 4)
    built = [Member(0, spec, fold, 0) for fold in range(members)]
    network = build_network(built, Shape(4, 6, 1, columns, 60))
    assert isinstance(network, FittedNetwork)
    return network


def problem_of(seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, 6)).astype(np.float32)
    return Problem(x, (x[:, 0] + np.sin(x[:, 1])).astype(np.float64), None, 1, seed)


@pytest.mark.parametrize("name", FITTED)
def test_members_are_solved_apart(name: str) -> None:
    network, alone = network_of(name, 3), network_of(name, 1)
    for place in range(3):
        network.fit(place, problem_of(place))
    alone.fit(0, problem_of(1))
    x = torch.from_numpy(problem_of(9).x)
    y = network(x.expand(3, -1, -1))
    assert y.shape == (3, 60, 1, 1)
    assert y.dtype == torch.float32
    torch.testing.assert_close(alone(x.unsqueeze(0))[0], y[1], rtol=0, atol=1e-6)
    for buffer, own in zip(network.buffers(), alone.buffers(), strict=True):
        assert torch.equal(buffer[1], own[0])
    taken = take(network, torch.tensor([1]))(x.unsqueeze(0))
    torch.testing.assert_close(taken[0], y[1], rtol=0, atol=1e-6)
    assert not torch.equal(y[0], y[1])


@pytest.mark.parametrize("name", FITTED)
def test_they_predict_better_than_the_mean(name: str) -> None:
    network = network_of(name, 1)
    network.fit(0, problem_of(0))
    asked = problem_of(1)
    errors = network(torch.from_numpy(asked.x).unsqueeze(0)).flatten().numpy() - asked.y
    assert errors.var() < 0.7 * asked.y.var()
