"""Each member of a population is optimised as if it were alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from models.members import Member
from models.networks import build_network
from models.networks.population import Network, Shape
from models.spec import TrainingSpec
from models.training.optimizers import PopulationOptimizer

MEMBERS, INPUTS = 3, 4
RATE = 0.05
RATES = [RATE] * MEMBERS
OPTIMIZERS = ["adam", "adamw", "sgd"]


def spec_of(name: str, *, weight_decay: float = 0.1, **optimizer: Any) -> TrainingSpec:
    return TrainingSpec.model_validate(
        {
            "target": "price",
            "architecture": {"type": "mlp", "hidden_sizes": [5]},
            "weight_decay": weight_decay,
            "optimizer": {"name": name, "learning_rate": RATE, **optimizer},
        }
    )


def network_of(spec: TrainingSpec) -> Network:
    members = [Member(0, spec, fold, 0) for fold in range(MEMBERS)]
    network = build_network(members, Shape(INPUTS, INPUTS, 1))
    for layer in network.linear_layers():
        torch.nn.init.normal_(layer.bias, generator=torch.Generator().manual_seed(1))
    return network


def weights_of(network: Network) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def optimizer_of(network: Network, spec: TrainingSpec) -> PopulationOptimizer:
    return PopulationOptimizer(network, [spec] * MEMBERS)


def zero_gradients(network: Network) -> None:
    """In place: the optimiser keeps the tensors that it made."""
    for parameter in network.parameters():
        assert parameter.grad is not None
        parameter.grad.zero_()


def move(
    network: Network, optimizer: PopulationOptimizer, step: int, idle: Sequence[int] = ()
) -> None:
    """One step on made-up rows, different in every step."""
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(MEMBERS, 8, INPUTS, generator=generator)
    zero_gradients(network)
    network(x).square().mean((1, 2, 3)).sum().backward()
    optimizer.prepare(RATES, idle)
    optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_idle_member_is_not_moved_at_all(name: str) -> None:
    """Neither by momentum nor by weight decay; and its own next step is as if nothing had been."""
    spec = spec_of(name)
    network = network_of(spec)
    optimizer = optimizer_of(network, spec)
    for step in range(3):
        move(network, optimizer, step)
    undisturbed = copy.deepcopy(network)
    rested = optimizer_of(undisturbed, spec)
    rested.load(*optimizer.state())
    before = weights_of(network)

    move(network, optimizer, 3, idle=[1])
    for key, weight in weights_of(network).items():
        assert torch.equal(weight[1], before[key][1]), key
        assert not torch.equal(weight[0], before[key][0]), key
        assert not torch.equal(weight[2], before[key][2]), key

    move(network, optimizer, 4)
    move(undisturbed, rested, 4)
    expected = weights_of(undisturbed)
    for key, weight in weights_of(network).items():  # to rounding: the kernel differs by company
        torch.testing.assert_close(weight[1], expected[key][1], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_restored_optimizer_goes_on_as_the_saved_one(name: str) -> None:
    spec = spec_of(name)
    network = network_of(spec)
    optimizer = optimizer_of(network, spec)
    for step in range(3):
        move(network, optimizer, step, idle=[2] if step == 1 else [])
    stacked, steps = optimizer.state()
    saved = {key: value.clone() for key, value in stacked.items()}, list(steps)
    restored_network = copy.deepcopy(network)
    restored = optimizer_of(restored_network, spec)
    restored.load(*saved)
    for step in range(3, 6):
        move(network, optimizer, step)
        move(restored_network, restored, step)
    expected = weights_of(network)
    for key, weight in weights_of(restored_network).items():
        assert torch.equal(weight, expected[key]), key
    (found, found_steps), (stacked, steps) = restored.state(), optimizer.state()
    assert found_steps == steps == [6, 6, 5]
    assert found.keys() == stacked.keys()
    for key, value in found.items():
        assert torch.equal(value, stacked[key]), key


def test_nothing_is_remembered_before_the_first_step() -> None:
    spec = spec_of("adam")
    stacked, steps = optimizer_of(network_of(spec), spec).state()
    assert steps == [0] * MEMBERS
    assert stacked
    for value in stacked.values():
        assert not value.any()


def test_the_gradient_is_clipped_for_each_member_alone() -> None:
    """With plain SGD at rate 1 a member moves by its gradient: the long one is cut to the clip,
    the short one is left as it is."""
    clip = 0.5
    spec = spec_of("sgd", weight_decay=0.0, learning_rate=1.0, momentum=0.0, gradient_clip=clip)
    network = network_of(spec)
    optimizer = optimizer_of(network, spec)
    before = weights_of(network)
    steepness = torch.tensor([100.0, 1e-3, 0.0])
    zero_gradients(network)
    x = torch.randn(MEMBERS, 8, INPUTS, generator=torch.Generator().manual_seed(0))
    (network(x).mean((1, 2, 3)) * steepness).sum().backward()
    gradient = {name: p.grad.clone() for name, p in network.named_parameters()}
    optimizer.prepare([1.0] * MEMBERS)
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
    optimizer = optimizer_of(network, spec)
    before = weights_of(network)
    zero_gradients(network)
    optimizer.prepare(RATES)
    optimizer.step()
    for key, weight in weights_of(network).items():
        if key.endswith("weight"):
            torch.testing.assert_close(weight, before[key] * (1 - RATE * 0.1))
        else:
            assert torch.equal(weight, before[key]), key
            assert weight.abs().min() > 0


def test_decay_is_no_part_of_the_momentum() -> None:
    """Decoupled: two steps without a gradient shrink the weights twice by the same factor."""
    spec = spec_of("sgd", weight_decay=0.5)
    network = network_of(spec)
    optimizer = optimizer_of(network, spec)
    before = network.linear_layers()[0].weight.detach().clone()
    for _ in range(2):
        zero_gradients(network)
        optimizer.prepare(RATES)
        optimizer.step()
    after = network.linear_layers()[0].weight.detach()
    torch.testing.assert_close(after, before * (1 - RATE * 0.5) ** 2)


def test_adam_and_adamw_are_one_update() -> None:
    networks = []
    for name in ("adam", "adamw"):
        spec = spec_of(name)
        network = network_of(spec)
        optimizer = optimizer_of(network, spec)
        for step in range(3):
            move(network, optimizer, step)
        networks.append(weights_of(network))
    for key, weight in networks[0].items():
        assert torch.equal(weight, networks[1][key])


def torch_optimizer(
    spec: TrainingSpec, weights: dict[str, Tensor], rate: float
) -> Callable[[], None]:
    """A step of torch's own optimiser, with decoupled weight decay."""
    decayed = [weight for key, weight in weights.items() if key.endswith("weight")]
    others = [weight for key, weight in weights.items() if not key.endswith("weight")]
    sgd = spec.optimizer.name == "sgd"
    plain = (
        torch.optim.SGD([*decayed, *others], rate, momentum=spec.optimizer.momentum)
        if sgd
        else torch.optim.AdamW(
            [{"params": decayed, "weight_decay": spec.weight_decay}, {"params": others}],
            rate,
            weight_decay=0.0,
        )
    )

    def step() -> None:
        if sgd:
            with torch.no_grad():
                for weight in decayed:
                    weight.mul_(1 - rate * spec.weight_decay)
        plain.step()

    return step


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_member_moves_by_its_own_spec(name: str) -> None:
    """Rates, decays and clips of three trials, against torch.optim for each of them alone."""
    specs = [
        spec_of(name, weight_decay=0.0),
        spec_of(name, weight_decay=0.3),
        spec_of(name, weight_decay=0.1, gradient_clip=0.01),
    ]
    rates = [0.05, 0.01, 0.2]
    members = [Member(trial, spec, 0, 0) for trial, spec in enumerate(specs)]
    network = build_network(members, Shape(INPUTS, INPUTS, 1)).double()
    alone = [
        {key: p.detach()[place].clone().requires_grad_() for key, p in network.named_parameters()}
        for place in range(MEMBERS)
    ]
    optimizer = PopulationOptimizer(network, specs)
    plain = [torch_optimizer(specs[k], alone[k], rates[k]) for k in range(MEMBERS)]
    for step in range(5):
        x = torch.randn(MEMBERS, 8, INPUTS, generator=torch.Generator().manual_seed(step)).double()
        zero_gradients(network)
        network(x).square().mean((1, 2, 3)).sum().backward()
        for place in range(MEMBERS):
            for key, parameter in network.named_parameters():
                assert parameter.grad is not None
                alone[place][key].grad = parameter.grad[place].clone()
            clip = specs[place].optimizer.gradient_clip
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(alone[place].values(), clip)
            plain[place]()
        optimizer.prepare(rates)
        optimizer.step()
        for key, parameter in network.named_parameters():
            for place in range(MEMBERS):
                torch.testing.assert_close(
                    parameter[place], alone[place][key], rtol=1e-12, atol=1e-12
                )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameters_may_have_rates_of_their_own(name: str) -> None:
    """RealMLP: six times the rate for input scales, a tenth for biases and slopes."""
    spec = TrainingSpec.model_validate(
        {
            "target": "price",
            "architecture": {"type": "realmlp", "hidden_sizes": [5], "numeric_embedding": None},
            "weight_decay": 0.0,
            "optimizer": {"name": name, "learning_rate": RATE},
        }
    )
    members = [Member(0, spec, fold, 0) for fold in range(MEMBERS)]
    network = build_network(members, Shape(INPUTS, INPUTS, 1))
    optimizer = optimizer_of(network, spec)
    before = weights_of(network)
    for parameter in network.parameters():
        assert parameter.grad is not None
        parameter.grad.fill_(1.0)  # on which Adam's first step is as long as the rate
    optimizer.prepare(RATES)
    optimizer.step()
    factors = {"input_scale": 6.0, "bias": 0.1, "slope": 0.1, "weight": 1.0}
    assert {key.rsplit(".", 1)[-1] for key in before} == factors.keys()
    for key, weight in weights_of(network).items():
        step = torch.full_like(weight, RATE * factors[key.rsplit(".", 1)[-1]])
        torch.testing.assert_close(before[key] - weight, step, rtol=1e-3, atol=1e-6)
