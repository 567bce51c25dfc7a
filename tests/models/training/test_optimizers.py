"""Each member of a population is optimised as if it were alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from models.networks import build_network
from models.networks.population import Network
from models.spec import TrainingSpec
from models.training.optimizers import PopulationOptimizer

MEMBERS, INPUTS = 3, 4
OPTIMIZERS = ["adam", "adamw", "sgd"]


def spec_of(name: str, *, weight_decay: float = 0.1, **optimizer: Any) -> TrainingSpec:
    return TrainingSpec.model_validate(
        {
            "target": "price",
            "architecture": {"type": "mlp", "hidden_sizes": [5]},
            "weight_decay": weight_decay,
            "optimizer": {"name": name, "learning_rate": 0.05, **optimizer},
        }
    )


def network_of(spec: TrainingSpec) -> Network:
    network = build_network(spec, INPUTS, seeds=list(range(MEMBERS)))
    for layer in network.linear_layers():
        torch.nn.init.normal_(layer.bias, generator=torch.Generator().manual_seed(1))
    return network


def weights_of(network: Network) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def move(
    network: Network, optimizer: PopulationOptimizer, step: int, idle: Sequence[int] = ()
) -> None:
    """One step on made-up rows, different in every step."""
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(MEMBERS, 8, INPUTS, generator=generator)
    optimizer.zero_grad()
    network(x).square().mean((1, 2)).sum().backward()
    optimizer.step(idle)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_idle_member_is_not_moved_at_all(name: str) -> None:
    """Neither by momentum nor by weight decay; and its own next step is as if nothing had been."""
    spec = spec_of(name)
    network = network_of(spec)
    optimizer = PopulationOptimizer(network, spec)
    for step in range(3):
        move(network, optimizer, step)
    undisturbed = copy.deepcopy(network)
    rested = PopulationOptimizer(undisturbed, spec)
    rested.load(optimizer.state())
    before = weights_of(network)

    move(network, optimizer, 3, idle=[1])
    for key, weight in weights_of(network).items():
        assert torch.equal(weight[1], before[key][1]), key
        assert not torch.equal(weight[0], before[key][0]), key
        assert not torch.equal(weight[2], before[key][2]), key

    move(network, optimizer, 4)
    move(undisturbed, rested, 4)
    for key, weight in weights_of(network).items():
        assert torch.equal(weight[1], weights_of(undisturbed)[key][1]), key


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_restored_optimizer_goes_on_as_the_saved_one(name: str) -> None:
    spec = spec_of(name)
    network = network_of(spec)
    optimizer = PopulationOptimizer(network, spec)
    for step in range(3):
        move(network, optimizer, step, idle=[2] if step == 1 else [])
    saved = {key: value.clone() for key, value in optimizer.state().items()}
    restored_network = copy.deepcopy(network)
    restored = PopulationOptimizer(restored_network, spec)
    restored.load(saved)
    for step in range(3, 6):
        move(network, optimizer, step)
        move(restored_network, restored, step)
    expected = weights_of(network)
    for key, weight in weights_of(restored_network).items():
        assert torch.equal(weight, expected[key]), key
    for key, value in restored.state().items():
        assert torch.equal(value, optimizer.state()[key]), key


def test_nothing_is_remembered_before_the_first_step() -> None:
    spec = spec_of("adam")
    optimizer = PopulationOptimizer(network_of(spec), spec)
    assert optimizer.state() == {}


def test_the_gradient_is_clipped_for_each_member_alone() -> None:
    """With plain SGD at rate 1 a member moves by its gradient: the long one is cut to the clip,
    the short one is left as it is."""
    clip = 0.5
    spec = spec_of("sgd", weight_decay=0.0, learning_rate=1.0, momentum=0.0, gradient_clip=clip)
    network = network_of(spec)
    optimizer = PopulationOptimizer(network, spec)
    before = weights_of(network)
    steepness = torch.tensor([100.0, 1e-3, 0.0])
    optimizer.zero_grad()
    x = torch.randn(MEMBERS, 8, INPUTS, generator=torch.Generator().manual_seed(0))
    (network(x).mean((1, 2)) * steepness).sum().backward()
    gradient = {name: p.grad.clone() for name, p in network.named_parameters()}
    optimizer.step()

    moved = {key: before[key] - weight for key, weight in weights_of(network).items()}
    lengths = sum(step.flatten(1).square().sum(1) for step in moved.values()).sqrt()
    assert lengths[0] == pytest.approx(clip, rel=1e-4)
    assert 0 < lengths[1] < clip
    for key, step in moved.items():
        torch.testing.assert_close(step[1], gradient[key][1], rtol=1e-3, atol=1e-6)
        assert torch.equal(step[2], torch.zeros_like(step[2]))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_shrinks_weights_and_spares_biases(name: str) -> None:
    """Where the loss pulls at nothing, a step multiplies the weights by 1 − rate · decay."""
    spec = spec_of(name, weight_decay=0.1)
    network = network_of(spec)
    optimizer = PopulationOptimizer(network, spec)
    before = weights_of(network)
    optimizer.zero_grad()
    optimizer.step()
    for key, weight in weights_of(network).items():
        if key.endswith("weight"):
            torch.testing.assert_close(weight, before[key] * (1 - 0.05 * 0.1))
        else:
            assert torch.equal(weight, before[key]), key
            assert weight.abs().min() > 0


def test_decay_is_no_part_of_the_momentum() -> None:
    """Decoupled: two steps without a gradient shrink the weights twice by the same factor."""
    spec = spec_of("sgd", weight_decay=0.5)
    network = network_of(spec)
    optimizer = PopulationOptimizer(network, spec)
    before = network.linear_layers()[0].weight.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        optimizer.step()
    after = network.linear_layers()[0].weight.detach()
    torch.testing.assert_close(after, before * (1 - 0.05 * 0.5) ** 2)


def test_adam_and_adamw_are_one_update() -> None:
    networks = []
    for name in ("adam", "adamw"):
        spec = spec_of(name)
        network = network_of(spec)
        optimizer = PopulationOptimizer(network, spec)
        for step in range(3):
            move(network, optimizer, step)
        networks.append(weights_of(network))
    for key, weight in networks[0].items():
        assert torch.equal(weight, networks[1][key])
