"""RealMLP: an MLP with a parametrisation and tricks for tables."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from models.networks.embedding import embed_inputs
from models.networks.population import Activate, Linear, Network, Noise, Shape, drop
from models.spec import TrainingSpec
from models.spec.architectures import Activation, RealMlpArchitecture


class NtkLinear(nn.Module):
    """x W / √in + b in the neural tangent parametrisation, with W of unit variance.

    `is_output`: the bias starts at zero, the standardised target's mean.

    Input: (K, B, in). Output: (K, B, out).
    """

    def __init__(self, members: int, inputs: int, outputs: int, *, is_output: bool = False) -> None:
        super().__init__()
        self.is_output = is_output
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))

    def initialize(self, member: int, generator: torch.Generator) -> None:
        with torch.no_grad():
            self.weight[member].normal_(generator=generator)
            if not self.is_output:
                self.bias[member].normal_(generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight * self.weight.shape[1] ** -0.5)


class ParametricActivation(nn.Module):
    """x + α (σ(x) − x) with a learnt α per unit, initially 1.

    Input and output: (K, B, units).
    """

    def __init__(self, members: int, units: int, activation: Activation) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(members, 1, units))
        self.activate = Activate(activation)

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = self.activate(x)
        return x + self.slope * (activated - x)


class RealMlp(Network):
    """A learnt scale for each input, then NTK layers with parametric activations and dropout
    (Holzmüller et al. 2024, arXiv 2407.04491, "RealMLP-TD" for regression). The encoder does robust
    scaling and smooth clipping; the spec sets periodic embeddings and schedules.

    Input: (K, B, inputs). Output: (K, B, 1, outputs).
    """

    # Learning rates as factors of the spec's, by the last part of a parameter's name.
    RATE_FACTORS = {"input_scale": 6.0, "bias": 0.1, "slope": 0.1}  # noqa: RUF012

    def __init__(self, members: int, shape: Shape, spec: TrainingSpec) -> None:
        super().__init__()
        architecture = spec.architecture
        assert isinstance(architecture, RealMlpArchitecture)
        self.embedding = embed_inputs(members, shape, architecture)
        sizes = [self.embedding.width, *architecture.hidden_sizes]
        self.input_scale = nn.Parameter(torch.ones(members, 1, sizes[0]))
        self.hidden = nn.ModuleList(NtkLinear(members, a, b) for a, b in pairwise(sizes))
        self.activations = nn.ModuleList(
            ParametricActivation(members, units, architecture.activation) for units in sizes[1:]
        )
        self.output = NtkLinear(members, sizes[-1], shape.outputs, is_output=True)

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:  # (K, B, inputs)
        hidden = self.embedding(x) * self.input_scale
        for layer, activation in zip(self.hidden, self.activations, strict=True):
            hidden = drop(activation(layer(hidden)), noise)  # (K, B, units)
        output: Tensor = self.output(hidden)
        return output.unsqueeze(2)

    def input_axes(self) -> dict[str, int]:
        return {"input_scale": 1, "hidden.0.weight": 0}

    def input_factor(self, before: int, now: int) -> float:
        return math.sqrt(now / before)

    def output_layers(self) -> list[Linear]:
        return []  # NtkLinear sets its own bias

    def rate_factor(self, parameter: str) -> float:
        return self.RATE_FACTORS.get(parameter.rsplit(".", 1)[-1], 1.0)
