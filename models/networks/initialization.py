"""First weights, by the usual rules, each member from a stream of random numbers of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.networks.population import Network
from models.randomness import stream_seed
from models.spec import Activation, Initialization

# Half-width of `uniform` and standard deviation of `normal`, as introductory courses use them.
UNIFORM_BOUND = 0.1
NORMAL_DEVIATION = 0.01

# He et al. 2015, arXiv 1502.01852; activations without a gain of their own resemble ReLU.
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


def initialize(
    network: Network,
    initialization: Initialization,
    activation: Activation,
    seeds: list[int],
) -> None:
    """Fill the weights of K members in place; `seeds` has one a member.

    Biases start at zero, except that `default` draws the hidden ones as torch.nn.Linear does. The
    output's bias is always zero: the standardised target's mean.
    """
    layers = network.linear_layers()
    for member, seed in enumerate(seeds):
        generator = torch.Generator().manual_seed(stream_seed(seed, "initialization"))
        for place, layer in enumerate(layers):
            # torch.nn.init counts fans on [out, in].
            weight = layer.weight.detach()[member].T
            bias = layer.bias.detach()[member]
            _draw(weight, initialization, activation, generator)
            if initialization == "default" and place < len(layers) - 1:
                bound = 1 / math.sqrt(weight.shape[1])
                nn.init.uniform_(bias, -bound, bound, generator=generator)


def _draw(
    weight: Tensor,
    initialization: Initialization,
    activation: Activation,
    generator: torch.Generator,
) -> None:
    nonlinearity = GAINS[activation]
    match initialization:
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
        case "uniform":
            nn.init.uniform_(weight, -UNIFORM_BOUND, UNIFORM_BOUND, generator=generator)
        case "normal":
            nn.init.normal_(weight, std=NORMAL_DEVIATION, generator=generator)
        case "constant":
            nn.init.zeros_(weight)
        case "default":
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
