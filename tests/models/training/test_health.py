"""The layer that numerical trouble is blamed on, and shares of idle hidden units."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from houses import house_frame, lay, trainer_of
from torch import Tensor

from models.members import members_of
from models.networks import build_network
from models.networks.population import Network, Shape
from models.spec import TrainingSpec
from models.training.health import first_non_finite
from models.training.layers import Activations, Layers
from models.training.progress import Monitor, Trouble

MEMBERS, INPUTS, ROWS = 3, 4, 16
SICK = 1
# The largest float32 is 3.4e38.
HUGE = 3e38

PERIODIC = {"type": "periodic", "frequencies": 3, "size": 3}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "linear": {"type": "linear"},
    "mlp": {"type": "mlp", "hidden_sizes": [6, 5], "activation": "relu", "linear_path": True},
    "mlp with norms": {
        "type": "mlp",
        "hidden_sizes": [6, 5],
        "normalization": "layer",
        "numeric_embedding": PERIODIC,
    },
    "resnet": {"type": "resnet", "blocks": 2, "width": 6, "block_width": 7},
    "realmlp": {"type": "realmlp", "hidden_sizes": [6, 5], "numeric_embedding": PERIODIC},
    "tabm": {"type": "tabm", "hidden_sizes": [6, 5], "ensemble_size": 3},
}


def network_of(architecture: dict[str, Any], members: int = MEMBERS) -> Network:
    """A population with the weights that training begins with, all inputs numbers."""
    spec = TrainingSpec.model_validate(
        {"target": "price", "architecture": architecture, "k_folds": members}
    )
    return build_network(members_of([spec]), Shape(INPUTS, INPUTS, 1))


def batch(members: int = MEMBERS) -> Tensor:
    """(K, rows, inputs), large enough that HUGE times a few of them overflows."""
    generator = torch.Generator().manual_seed(0)
    return 10 * torch.randn(members, ROWS, INPUTS, generator=generator)


def fill(network: Network, name: str, value: float, member: int = SICK) -> None:
    """Set a member's values of one parameter."""
    with torch.no_grad():
        network.get_parameter(name)[member] = value


def hidden_units(network: Network, x: Tensor) -> Activations:
    with Layers(network).observe(x.shape[1]) as seen, torch.no_grad():
        network(x)
    return seen


def blamed(network: Network) -> list[str]:
    """What is said of each member."""
    return [first_non_finite(network, member, batch()) for member in range(MEMBERS)]


# Where the numbers stop being finite.


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_weight_that_is_no_number_is_named(name: str, value: float) -> None:
    for parameter, _ in network_of(ARCHITECTURES[name]).named_parameters():
        network = network_of(ARCHITECTURES[name])
        with torch.no_grad():
            own = network.get_parameter(parameter)[SICK].view(-1)
            own[len(own) // 2] = value
        assert blamed(network) == ["the loss", f"the weights {parameter}", "the loss"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_finite_weights_and_outputs_leave_the_loss(name: str) -> None:
    assert blamed(network_of(ARCHITECTURES[name])) == ["the loss"] * MEMBERS


# Layers on the way from the inputs to the output, by the beginnings of their parameters' names.
LAYERS: dict[str, list[tuple[str, ...]]] = {
    "linear": [("output.",)],
    "mlp": [("hidden.0.",), ("hidden.1.",), ("output.", "shortcut.")],
    "mlp with norms": [
        ("embedding.",),
        ("hidden.0.",),
        ("norms.0.",),
        ("hidden.1.",),
        ("norms.1.",),
        ("output.",),
    ],
    "resnet": [
        ("first.",),
        ("norms.0.",),
        ("widen.0.",),
        ("narrow.0.",),
        ("norms.1.",),
        ("widen.1.",),
        ("narrow.1.",),
        ("norms.2.",),
        ("output.",),
    ],
    "realmlp": [
        ("embedding.", "input_scale"),
        ("hidden.0.",),
        ("activations.0.",),
        ("hidden.1.",),
        ("activations.1.",),
        ("output.",),
    ],
    "tabm": [("hidden.0.",), ("hidden.1.",), ("heads.",)],
}


@pytest.mark.parametrize(
    ("name", "last"),
    [(name, last) for name, layers in LAYERS.items() for last in range(len(layers))],
)
def test_a_gradient_that_overflowed_began_nearest_to_the_output(name: str, last: int) -> None:
    """It has spread to all layers before that one."""
    network, layers = network_of(ARCHITECTURES[name]), LAYERS[name]
    parameters = [parameter for parameter, _ in network.named_parameters()]
    assert all(parameter.startswith(sum(layers, ())) for parameter in parameters)
    for parameter in parameters:
        if parameter.startswith(sum(layers[: last + 1], ())):
            fill(network, parameter, math.nan)
    before, sick, after = blamed(network)
    assert sick.startswith("the weights ")
    assert sick.removeprefix("the weights ").startswith(layers[last])
    assert before == after == "the loss"


# Architecture, a parameter that is finite and huge, and the module whose outputs overflow.
OVERFLOWS: list[tuple[str, str, str]] = [
    ("linear", "output.weight", "output"),
    ("mlp", "hidden.0.weight", "hidden.0"),
    ("mlp", "hidden.1.weight", "hidden.1"),
    ("mlp", "output.weight", "output"),
    ("mlp", "shortcut.weight", "shortcut"),
    ("mlp with norms", "embedding.frequency", "embedding"),
    ("mlp with norms", "embedding.mix_weight", "embedding"),
    ("mlp with norms", "hidden.0.weight", "hidden.0"),
    ("mlp with norms", "norms.0.scale", "norms.0"),
    ("mlp with norms", "norms.1.scale", "norms.1"),
    ("mlp with norms", "output.weight", "output"),
    ("resnet", "first.weight", "first"),
    ("resnet", "norms.0.scale", "norms.0"),
    ("resnet", "widen.0.weight", "widen.0"),
    ("resnet", "narrow.0.weight", "narrow.0"),
    ("resnet", "narrow.1.weight", "narrow.1"),
    ("resnet", "norms.2.scale", "norms.2"),
    ("resnet", "output.weight", "output"),
    ("realmlp", "embedding.mix_weight", "embedding"),
    ("realmlp", "input_scale", "hidden.0"),  # the inputs are no module's
    ("realmlp", "hidden.1.weight", "hidden.1"),
    ("realmlp", "activations.0.slope", "activations.0"),
    ("realmlp", "output.weight", "output"),
    ("tabm", "hidden.0.before", "hidden.0.shared"),
    ("tabm", "hidden.0.shared.weight", "hidden.0.shared"),
    ("tabm", "hidden.0.after", "hidden.0"),
    ("tabm", "hidden.1.after", "hidden.1"),
    ("tabm", "heads.weight", "heads"),
]


@pytest.mark.parametrize(("name", "parameter", "module"), OVERFLOWS)
def test_outputs_that_overflow_are_named(name: str, parameter: str, module: str) -> None:
    network = network_of(ARCHITECTURES[name])
    fill(network, parameter, HUGE)
    assert blamed(network) == ["the loss", f"the outputs of {module}", "the loss"]


def test_looking_leaves_no_hooks() -> None:
    network = network_of(ARCHITECTURES["mlp"])
    for look in (lambda x: first_non_finite(network, 0, x), lambda x: hidden_units(network, x)):
        look(batch())
        with pytest.raises(RuntimeError, match="batch2"):
            look(batch()[..., :2])
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("architecture", "parameter", "module"),
    [
        (ARCHITECTURES["mlp"], "hidden.1.weight", "hidden.1"),  # gradients by hand
        (ARCHITECTURES["resnet"], "widen.0.weight", "widen.0"),  # by autograd
    ],
    ids=["mlp", "resnet"],
)
def test_training_names_the_step_and_the_layer_and_goes_on(
    tmp_path: Path, architecture: dict[str, Any], parameter: str, module: str
) -> None:
    case = lay(
        tmp_path,
        house_frame(40),
        architecture=architecture,
        batch_size=8,
        k_folds=MEMBERS,
        max_epochs=2,
        early_stopping=None,
    )
    trainer = trainer_of(case)
    fill(trainer.network, parameter, HUGE)
    courses = trainer.train(Monitor()).courses
    assert courses[SICK].trouble == Trouble(1, 1, f"the outputs of {module}")
    assert (courses[SICK].stopped_by, courses[SICK].epochs) == ("non_finite", 1)
    for course in (courses[0], courses[2]):
        assert course.trouble is None
        assert (course.stopped_by, course.best_epoch) == ("max_epochs", 2)


# Hidden units that do nothing.

SIGNS = torch.tensor([[[1.0, 1.0], [1.0, -1.0]]])  # (1, rows, inputs)
Layer = tuple[list[list[float]], list[float]]  # weights (in, out) and biases (out)


def small_network(activation: str, layers: list[list[Layer]]) -> Network:
    """Hidden layers [3, 2] over two inputs, by member and layer."""
    spec = TrainingSpec.model_validate(
        {
            "target": "price",
            "architecture": {"type": "mlp", "hidden_sizes": [3, 2], "activation": activation},
            "k_folds": len(layers),
        }
    )
    network = build_network(members_of([spec]), Shape(2, 2, 1))
    with torch.no_grad():
        for member, own in enumerate(layers):
            for layer, (weights, biases) in enumerate(own):
                network.get_parameter(f"hidden.{layer}.weight")[member] = torch.tensor(weights)
                network.get_parameter(f"hidden.{layer}.bias")[member] = torch.tensor(biases)
    return network


def shares_of(values: Tensor | None) -> list[float]:
    assert values is not None
    return values.tolist()


def test_dead_units_are_counted() -> None:
    """The rows are (1, 1) and (1, −1)."""
    some: list[Layer] = [
        # x₁: 1 and 1; x₂: 1 and 0, which is not dead; −1 − x₁: 0 and 0.
        ([[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]], [0.0, 0.0, -1.0]),
        # h₁: 1 and 1; −h₁ − h₂ − h₃: 0 and 0.
        ([[1.0, -1.0], [0.0, -1.0], [0.0, -1.0]], [0.0, 0.0]),
    ]
    none: list[Layer] = [
        ([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], [0.0, 0.0, 0.0]),
        ([[1.0, 1.0]] * 3, [0.0, 0.0]),
    ]
    every: list[Layer] = [
        ([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [0.0, -1.0, -2.0]),
        ([[1.0, 1.0]] * 3, [0.0, -1.0]),
    ]
    units = hidden_units(small_network("relu", [some, none, every]), SIGNS.expand(3, -1, -1))
    assert shares_of(units.dead) == pytest.approx([2 / 5, 0.0, 1.0])
    assert units.saturated is None


def test_saturated_units_are_counted() -> None:
    """By unit and row: tanh(2.4) = 0.984 is within 1 % of the range −1 … 1, tanh(2.2) = 0.976 is
    not."""
    some: list[Layer] = [
        # ±2.4 by row: 2 of 2; 2.2: 0; 0 and 4.8: 1.
        ([[0.0, 2.2, 2.4], [2.4, 0.0, -2.4]], [0.0, 0.0, 0.0]),
        # −2.4: 2; 0: 0.
        ([[0.0, 0.0]] * 3, [-2.4, 0.0]),
    ]
    none: list[Layer] = [([[1.0] * 3] * 2, [0.0] * 3), ([[0.5] * 2] * 3, [0.0] * 2)]
    every: list[Layer] = [([[9.0] * 3, [1.0] * 3], [0.0] * 3), ([[-9.0] * 2] * 3, [0.0] * 2)]
    units = hidden_units(small_network("tanh", [some, none, every]), SIGNS.expand(3, -1, -1))
    assert shares_of(units.saturated) == pytest.approx([5 / 10, 0.0, 1.0])
    assert units.dead is None


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


Function = Callable[[np.ndarray], np.ndarray]
# Activation, as a function of numpy, and where it counts as saturated.
SATURATING: dict[str, tuple[Function, float, float]] = {
    "tanh": (np.tanh, -0.98, 0.98),
    "sigmoid": (sigmoid, 0.01, 0.99),
    "scaled_sigmoid": (lambda x: 4 * sigmoid(x) - 2, -1.96, 1.96),
}


def by_hand(network: Network, function: Function, x: np.ndarray, member: int) -> list[np.ndarray]:
    """The activations (rows, units) of an MLP's hidden layers, one member alone."""
    activations, hidden = [], x
    for layer in range(2):
        weight, bias = (
            network.get_parameter(f"hidden.{layer}.{name}")[member].detach().double().numpy()
            for name in ("weight", "bias")
        )
        hidden = function(hidden @ weight + bias)
        activations.append(hidden)
    return activations


@pytest.mark.parametrize("name", ["relu", *SATURATING])
def test_shares_of_random_networks(name: str) -> None:
    """Weights of a size at which some units do nothing."""
    network = network_of({"type": "mlp", "hidden_sizes": [3, 2], "activation": name})
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 2, generator=generator)
    x = batch()[:, :4]
    units = hidden_units(network, x)
    found = shares_of(units.dead if name == "relu" else units.saturated)
    for member in range(MEMBERS):
        if name == "relu":
            activations = by_hand(
                network, lambda sums: np.maximum(sums, 0), x[member].double().numpy(), member
            )
            dead = sum(int((layer <= 0).all(0).sum()) for layer in activations)
            assert found[member] == pytest.approx(dead / 5)
        else:
            function, low, high = SATURATING[name]
            activations = by_hand(network, function, x[member].double().numpy(), member)
            near = sum(int(((layer < low) | (layer > high)).sum()) for layer in activations)
            assert found[member] == pytest.approx(near / (5 * 4))
    assert len(set(found)) > 1
    assert any(0 < share < 1 for share in found)


# Architecture to what is added in front of its activations, and its hidden units.
RELU = {"activation": "relu"}
SHIFTS: dict[str, tuple[dict[str, Any], list[str], int]] = {
    "resnet": (
        {"type": "resnet", "blocks": 1, "width": 3, "block_width": 5, **RELU},
        ["widen.0.bias", "norms.1.shift"],
        5 + 3,
    ),
    "realmlp": (
        {"type": "realmlp", "hidden_sizes": [6, 2], "numeric_embedding": None, **RELU},
        ["hidden.0.bias", "hidden.1.bias"],
        6 + 2,
    ),
    "tabm": (
        {"type": "tabm", "hidden_sizes": [6, 2], "ensemble_size": 3, **RELU},
        ["hidden.0.bias", "hidden.1.bias"],
        6 + 2,
    ),
}


@pytest.mark.parametrize("name", SHIFTS)
def test_units_of_other_architectures_are_counted(name: str) -> None:
    """One unit of the member lives: in TabM, for one of the ensemble alone."""
    architecture, shifts, units = SHIFTS[name]
    network = network_of(architecture)
    for place, shift in enumerate(shifts, 1):
        fill(network, shift, -1e3)
        for healthy in (0, 2):
            fill(network, shift, 1e3**place, healthy)
    assert shares_of(hidden_units(network, batch()).dead) == [0.0, 1.0, 0.0]
    with torch.no_grad():
        network.get_parameter(shifts[0])[SICK].view(-1)[0] = 1e2
    dead = shares_of(hidden_units(network, batch()).dead)
    assert dead == pytest.approx([0.0, 1 - 1 / units, 0.0])


@pytest.mark.parametrize("name", ["linear", "mlp", "resnet", "realmlp", "tabm"])
def test_architectures_without_such_units(name: str) -> None:
    activation = {} if name == "linear" else {"activation": "silu"}
    units = hidden_units(network_of(ARCHITECTURES[name] | activation), batch())
    assert (units.dead, units.saturated) == (None, None)


def test_layers_show_their_weights_steps_and_activations() -> None:
    network = network_of({"type": "mlp", "hidden_sizes": [6, 5], "activation": "tanh"})
    layers = Layers(network)
    x = batch()
    before = {name: value.clone() for name, value in network.named_parameters()}
    network(x).square().mean().backward()
    layers.before_step()
    with torch.no_grad():
        network.get_parameter("hidden.0.weight").mul_(1.25)
        network.get_parameter("hidden.1.weight")[SICK] = 0.5  # all units alike
    layers.after_step()
    with layers.observe(4) as seen, torch.no_grad():
        network(x)
        network(10 * x)  # is not looked at
    found = layers.of_member(layers.figures(seen).tolist(), SICK)
    first, second, output = found
    assert [layer["name"] for layer in found] == ["hidden.0", "hidden.1", "output"]
    gradient = network.get_parameter("hidden.0.weight").grad
    assert gradient is not None
    assert first["gradient_norm"] == pytest.approx(gradient[SICK].norm().item())
    assert first["update_ratio"] == pytest.approx(0.25, rel=1e-5)
    assert first["weight_norm"] == pytest.approx(
        1.25 * before["hidden.0.weight"][SICK].norm().item(), rel=1e-5
    )
    assert (first["unlikeness"] or 0) > 0.5
    assert second["unlikeness"] == pytest.approx(0, abs=1e-6)
    hidden = by_hand(network, np.tanh, x[SICK, :4].double().numpy(), SICK)
    for layer, units in zip((first, second), hidden, strict=True):
        assert layer["activation_mean"] == pytest.approx(units.mean(), abs=1e-5)
        assert layer["activation_deviation"] == pytest.approx(units.std(), abs=1e-5)
    assert output["activation_mean"] is output["unlikeness"] is output["dead_units"] is None
