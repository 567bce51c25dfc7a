"""Layers of several networks at once, and the architectures made of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.members import Member
from models.networks import ARCHITECTURES, build_network
from models.networks.fitted import FittedNetwork
from models.networks.population import Linear, Network, Shape, activate, take
from models.spec import TrainingSpec

ACTIVATIONS: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "selu": nn.SELU(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "identity": nn.Identity(),
}


class Halves:
    """Dropout that always drops the second half of the units."""

    def __init__(self, rows: int) -> None:
        self.present = torch.ones(3, rows, 1)
        self.asked: list[tuple[int, int]] = []

    def keep(self, rows: int, units: int) -> Tensor:
        self.asked.append((rows, units))
        return (torch.arange(units) < units / 2).float().expand(3, rows, units) * 2


def network_of(architecture: dict[str, Any]) -> Network:
    """Of three members, for four numbers and two levels."""
    spec = TrainingSpec.model_validate({"target": "price", "architecture": architecture})
    return build_network([Member(0, spec, fold, 0) for fold in range(3)], Shape(4, 6, 1))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_torchs(name: Any) -> None:
    x = torch.linspace(-5, 5, 101)
    torch.testing.assert_close(activate(name, x), ACTIVATIONS[name](x))


def test_the_scaled_sigmoid() -> None:
    """4σ(x) − 2: through zero with slope 1, between −2 and 2."""
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    torch.testing.assert_close(activate("scaled_sigmoid", x), 4 / (1 + torch.exp(-x)) - 2)
    zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    activate("scaled_sigmoid", zero).backward()
    assert zero.grad is not None
    assert zero.grad.item() == 1.0
    assert activate("scaled_sigmoid", torch.tensor([-100.0, 100.0])).tolist() == [-2, 2]


def test_a_linear_layer_is_an_affine_map_for_each_member() -> None:
    layer = Linear(3, 4, 2)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(3, 5, 4)
    for member in range(3):
        expected = x[member] @ layer.weight[member] + layer.bias[member]
        torch.testing.assert_close(layer(x)[member], expected)


TRAINED = [name for name, kind in ARCHITECTURES.items() if not issubclass(kind, FittedNetwork)]


@pytest.mark.parametrize("name", TRAINED)
def test_every_architecture_keeps_its_members_apart(name: str) -> None:
    network = network_of({"type": name})
    x = torch.randn(3, 5, 6)
    y = network(x)
    assert y.shape == (3, 5, 32 if name == "tabm" else 1, 1)
    with torch.no_grad():
        x[1] += 1
        for parameter in network.parameters():
            parameter[1] += 1
    assert torch.equal(network(x)[[0, 2]], y[[0, 2]])
    assert not torch.equal(network(x)[1], y[1])


def test_an_mlp_is_hidden_layers_and_an_output() -> None:
    network = network_of({"type": "mlp", "hidden_sizes": [5, 3], "activation": "tanh"})
    shapes = [tuple(layer.weight.shape) for layer in network.linear_layers()]
    assert shapes == [(3, 6, 5), (3, 5, 3), (3, 3, 1)]
    x = torch.randn(3, 4, 6)
    first, second, output = network.linear_layers()
    expected = output(torch.tanh(second(torch.tanh(first(x)))))
    torch.testing.assert_close(network(x), expected.unsqueeze(2))


def test_dropout_comes_after_each_activation_and_only_with_noise() -> None:
    architecture = {"type": "mlp", "hidden_sizes": [4, 2], "activation": "relu"}
    network = network_of(architecture)
    x, noise = torch.randn(3, 7, 6), Halves(7)
    first, second, output = network.linear_layers()
    expected = torch.relu(first(x)) * noise.keep(7, 4)
    expected = torch.relu(second(expected)) * noise.keep(7, 2)
    noise.asked.clear()
    torch.testing.assert_close(network(x, noise), output(expected).unsqueeze(2))
    assert noise.asked == [(7, 4), (7, 2)]
    expected = output(torch.relu(second(torch.relu(first(x)))))
    torch.testing.assert_close(network(x), expected.unsqueeze(2))


def test_without_hidden_units_no_noise_is_drawn() -> None:
    noise = Halves(7)
    network_of({"type": "linear"})(torch.randn(3, 7, 6), noise)
    assert noise.asked == []


def test_take_keeps_some_members_in_the_asked_order() -> None:
    network = network_of({"type": "mlp", "hidden_sizes": [4]})
    network.register_buffer("ages", torch.tensor([10.0, 20.0, 30.0]))
    network.register_buffer("shared", torch.tensor([1.0, 2.0]), persistent=False)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    smaller = take(network, torch.tensor([2, 0]))
    for name, parameter in smaller.named_parameters():
        assert torch.equal(parameter, before[name][[2, 0]])
        assert parameter.requires_grad
    buffers = dict(smaller.named_buffers())
    assert buffers["ages"].tolist() == [30, 10]
    assert buffers["shared"].tolist() == [1, 2]
    with torch.no_grad():
        for parameter in smaller.parameters():
            parameter.zero_()
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name])
