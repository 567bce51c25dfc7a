"""Every rule against its formula, on layers that are large enough to tell."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from models.members import Member
from models.networks import ARCHITECTURES, build_network
from models.networks.fitted import FittedNetwork
from models.networks.population import Network, Shape
from models.spec import TrainingSpec

TRAINED = [name for name, kind in ARCHITECTURES.items() if not issubclass(kind, FittedNetwork)]
IN, OUT = 400, 300
ROOT_2 = math.sqrt(2)
GAINS = {
    "relu": ROOT_2,
    "leaky_relu": ROOT_2,
    "gelu": ROOT_2,
    "silu": ROOT_2,
    "mish": ROOT_2,
    "selu": 0.75,
    "tanh": 5 / 3,
    "sigmoid": 1.0,
    "scaled_sigmoid": 1.0,
    "identity": 1.0,
}
# Rule to standard deviation of a layer with IN inputs, OUT outputs and ReLU.
DEVIATIONS = {
    "xavier_uniform": math.sqrt(2 / (IN + OUT)),
    "xavier_normal": math.sqrt(2 / (IN + OUT)),
    "kaiming_uniform": ROOT_2 / math.sqrt(IN),
    "kaiming_normal": ROOT_2 / math.sqrt(IN),
    "lecun_normal": 1 / math.sqrt(IN),
    "uniform": 0.1 / math.sqrt(3),
    "normal": 0.01,
    "default": 1 / math.sqrt(3 * IN),
}


def network_of(
    initialization: Any,
    folds: list[int],
    *,
    activation: str = "relu",
    architecture: str = "mlp",
) -> Network:
    described: dict[str, Any] = {"type": architecture, "initialization": initialization}
    if architecture == "mlp":
        described |= {"hidden_sizes": [OUT], "activation": activation}
    spec = TrainingSpec.model_validate({"target": "price", "architecture": described})
    return build_network([Member(0, spec, fold, 0) for fold in folds], Shape(IN, IN, 1))


def first_weights(initialization: Any, **network: Any) -> Tensor:
    """(IN, OUT) of the only member."""
    layer = network_of(initialization, [5], **network).linear_layers()[0]
    return layer.weight.detach()[0].double()


@pytest.mark.parametrize("rule", DEVIATIONS)
def test_the_spread_of_the_weights(rule: str) -> None:
    weights = first_weights(rule)
    assert weights.shape == (IN, OUT)
    assert weights.std().item() == pytest.approx(DEVIATIONS[rule], rel=0.01)
    assert weights.mean().item() == pytest.approx(0, abs=5 * DEVIATIONS[rule] / math.sqrt(IN * OUT))
    largest = weights.abs().max().item()
    if rule.endswith("uniform") or rule == "default":
        bound = DEVIATIONS[rule] * math.sqrt(3)
        assert bound * 0.999 < largest <= bound * (1 + 1e-6)
    else:
        assert largest > 3.5 * DEVIATIONS[rule]  # as normal weights go


@pytest.mark.parametrize("activation", GAINS)
def test_kaiming_weights_follow_the_activation(activation: str) -> None:
    weights = first_weights("kaiming_normal", activation=activation)
    assert weights.std().item() == pytest.approx(GAINS[activation] / math.sqrt(IN), rel=0.01)


@pytest.mark.parametrize("rule", ["xavier_uniform", "lecun_normal", "default"])
def test_other_weights_do_not_follow_the_activation(rule: str) -> None:
    assert torch.equal(first_weights(rule), first_weights(rule, activation="tanh"))


def test_a_rule_with_a_number_of_ones_own() -> None:
    normal = first_weights({"type": "normal", "std": 10.0})
    assert normal.std().item() == pytest.approx(10, rel=0.01)
    uniform = first_weights({"type": "uniform", "bound": 0.5})
    assert 0.499 < uniform.abs().max().item() <= 0.5
    assert (first_weights({"type": "constant", "value": 0.25}) == 0.25).all()
    assert first_weights("constant").abs().max() == 0


@pytest.mark.parametrize(
    ("initialization", "place"),
    [
        ("glorot", ()),
        (3, ()),
        ({"type": "xavier_uniform"}, ()),
        ({"type": "normal"}, ("normal", "std")),
        ({"type": "normal", "std": -1.0}, ("normal", "std")),
        ({"type": "uniform", "bound": 0.0}, ("uniform", "bound")),
    ],
)
def test_other_rules_are_refused_at_their_place(
    initialization: Any, place: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as refused:
        network_of(initialization, [5])
    (finding,) = refused.value.errors()
    assert finding["loc"][2] == "initialization"
    assert finding["loc"][4:] == place


@pytest.mark.parametrize("rule", [*DEVIATIONS, "constant"])
def test_biases(rule: str) -> None:
    """`default` draws the hidden ones; the output starts at the standardised target's mean."""
    hidden, output = (layer.bias.detach() for layer in network_of(rule, [5]).linear_layers())
    assert output.abs().max() == 0
    if rule == "default":
        bound = 1 / math.sqrt(IN)
        assert 0.9 * bound < hidden.abs().max() <= bound
        assert hidden.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    else:
        assert hidden.abs().max() == 0


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("name", TRAINED)
def test_outputs_start_at_zero_however_many_they_are(name: str, outputs: int) -> None:
    """Without its weights an output layer leaves its biases, which are zero."""
    architecture: dict[str, Any] = {"type": name, "initialization": "default"}
    if name == "mlp":
        architecture |= {"linear_path": True, "hidden_sizes": [6, 1]}
    spec = TrainingSpec.model_validate({"target": "price", "architecture": architecture})
    network = build_network([Member(0, spec, fold, 0) for fold in (1, 2)], Shape(4, 4, outputs))
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for key, parameter in parameters.items():
            if key.startswith(("output.weight", "shortcut.weight", "heads.weight")):
                parameter.zero_()
    assert not network(torch.randn(2, 5, 4)).any()
    drawn = {"mlp": "hidden.1.bias", "resnet": "first.bias", "realmlp": "hidden.0.bias"}
    if name in drawn:
        assert parameters[drawn[name]].all()


def test_linear_regression_starts_by_the_same_rules() -> None:
    (layer,) = network_of("xavier_normal", [5], architecture="linear").linear_layers()
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (IN + 1)), rel=0.1)
    assert layer.bias.abs().max() == 0


@pytest.mark.parametrize("rule", DEVIATIONS)
def test_members_differ_and_a_seed_gives_the_same_member_in_any_company(rule: str) -> None:
    together, alone = network_of(rule, [1, 2, 3]), network_of(rule, [2])
    for layer, single in zip(together.linear_layers(), alone.linear_layers(), strict=True):
        assert torch.equal(layer.weight[1], single.weight[0])
        assert torch.equal(layer.bias[1], single.bias[0])
        for other in (0, 2):
            assert not torch.equal(layer.weight[1], layer.weight[other])
