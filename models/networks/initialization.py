"""Initial weights by the usual rules. Each member has its own stream of random numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from models.members import Member
from models.networks.population import Network
from models.spec.architectures import (
    Activation,
    ConstantWeights,
    FittedArchitecture,
    Initialization,
    LinearInitialization,
    NormalWeights,
    UniformWeights,
)

# The meaning of rules that are given only by name, as in introductory courses.
BY_NAME: dict[str, Initialization] = {
    "uniform": UniformWeights(type="uniform", bound=0.1),
    "normal": NormalWeights(type="normal", std=0.01),
    "constant": ConstantWeights(type="constant", value=0.0),
}

# He et al. 2015, arXiv 1502.01852; activations without their own gain resemble ReLU.
GAINS: dict[Activation, nn.init._NonlinearityType] = {
    "relu": "relu",
    "leaky_relu": "leaky_relu",
    "gelu": "relu",
    "silu": "relu",
    "mish": "relu",
    "selu": "selu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "scaled_sigmoid": "linear",
    "identity": "linear",
}


@runtime_checkable
class OwnWeights(Protocol):
    """A module with parameters that the spec's initialisation does not cover."""

    def initialize(self, member: int, generator: torch.Generator) -> None:
        """Fill one member's weights."""


def initialize(network: Network, members: Sequence[Member]) -> None:
    """Fill the weights of K members in place, each with its own seed.

    Biases start at zero, except that `default` draws the hidden ones as torch.nn.Linear does. The
    output's bias is always zero: the standardised target's mean.
    """
    layers, outputs = network.linear_layers(), network.output_layers()
    for place, member in enumerate(members):
        architecture = member.spec.architecture
        assert not isinstance(architecture, FittedArchitecture)
        activation: Activation = getattr(architecture, "activation", "identity")
        generator = torch.Generator().manual_seed(member.initial_seed)
        for layer in layers:
            # torch.nn.init expects [out, in].
            weight = layer.weight.detach()[place].T
            bias = layer.bias.detach()[place]
            _draw(weight, architecture.initialization, activation, generator)
            is_hidden = not any(layer is output for output in outputs)
            if architecture.initialization == "default" and is_hidden:
                bound = 1 / math.sqrt(weight.shape[1])
                nn.init.uniform_(bias, -bound, bound, generator=generator)
        for module in network.modules():
            if isinstance(module, OwnWeights):
                module.initialize(place, generator)


def _draw(
    weight: Tensor,
    initialization: LinearInitialization,
    activation: Activation,
    generator: torch.Generator,
) -> None:
    nonlinearity = GAINS[activation]
    if isinstance(initialization, str):
        initialization = BY_NAME.get(initialization, initialization)
    match initialization:
        case NormalWeights():
            nn.init.normal_(weight, std=initialization.std, generator=generator)
        case UniformWeights(bound=bound):
            nn.init.uniform_(weight, -bound, bound, generator=generator)
        case ConstantWeights():
            nn.init.constant_(weight, initialization.value)
        case "xavier_uniform":
            nn.init.xavier_uniform_(weight, generator=generator)
        case "xavier_normal":
            nn.init.xavier_normal_(weight, generator=generator)
        case "kaiming_uniform":
            nn.init.kaiming_uniform_(weight, nonlinearity=nonlinearity, generator=generator)
        case "kaiming_normal":
            nn.init.kaiming_normal_(weight, nonlinearity=nonlinearity, generator=generator)
        case "lecun_normal":
            nn.init.kaiming_normal_(weight, nonlinearity="linear", generator=generator)
        case "default":
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
        case "least_squares":  # set by `models.training.least_squares` from the rows
            nn.init.zeros_(weight)
