"""TabM: an ensemble of MLPs that share almost all of their weights."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from models.networks.embedding import embed_inputs
from models.networks.population import Activate, Linear, Network, Noise, Shape, drop
from models.spec import TrainingSpec
from models.spec.architectures import TabmArchitecture


class SharedLinear(nn.Module):
    """E affine maps that share a weight matrix: ((x ∘ r_e) W) ∘ s_e + b_e, "BatchEnsemble" (Wen et
    al. 2020, arXiv 2002.06715).

    Input: (K, E, B, in). Output: (K, E, B, out).
    """

    def __init__(self, members: int, ensemble: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shared = Linear(members, inputs, outputs)
        self.before = nn.Parameter(torch.ones(members, ensemble, 1, inputs))
        self.after = nn.Parameter(torch.ones(members, ensemble, 1, outputs))
        self.bias = nn.Parameter(torch.zeros(members, ensemble, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        ensemble = self.before.shape[1]
        scaled = (x * self.before).flatten(1, 2)  # (K, E·B, in)
        mapped: Tensor = self.shared(scaled).unflatten(1, (ensemble, -1))
        return mapped * self.after + self.bias


class Heads(nn.Module):
    """E separate affine maps.

    Input: (K, E, B, in). Output: (K, E, B, out).
    """

    def __init__(self, members: int, ensemble: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, ensemble, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(members, ensemble, 1, outputs))

    def initialize(self, member: int, generator: torch.Generator) -> None:
        """Draw weights like torch.nn.Linear; biases stay 0, the standardised target's mean."""
        bound = self.weight.shape[2] ** -0.5
        with torch.no_grad():
            self.weight[member].uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(x, self.weight) + self.bias


class Tabm(Network):
    """An MLP of SharedLinear layers with E heads (Gorishniy et al. 2024, arXiv 2410.24210). The
    first layer's r_e are random signs, which is the only initial difference between the E hidden
    stacks.

    Input: (K, B, inputs). Output: (K, B, E, outputs).
    """

    def __init__(self, members: int, shape: Shape, spec: TrainingSpec) -> None:
        super().__init__()
        architecture = spec.architecture
        assert isinstance(architecture, TabmArchitecture)
        self.ensemble = architecture.ensemble_size
        self.embedding = embed_inputs(members, shape, architecture)
        sizes = [self.embedding.width, *architecture.hidden_sizes]
        self.hidden = nn.ModuleList(
            SharedLinear(members, self.ensemble, a, b) for a, b in pairwise(sizes)
        )
        self.heads = Heads(members, self.ensemble, sizes[-1], shape.outputs)
        self.activate = Activate(architecture.activation)

    def initialize(self, member: int, generator: torch.Generator) -> None:
        """Random signs in front of the first layer."""
        first = self.hidden[0]
        assert isinstance(first, SharedLinear)
        with torch.no_grad():
            first.before[member].bernoulli_(0.5, generator=generator).mul_(2).sub_(1)

    def input_axes(self) -> dict[str, int]:
        return {"hidden.0.shared.weight": 0, "hidden.0.before": 2}

    def output_layers(self) -> list[Linear]:
        return []  # the heads are not Linear and set their own biases

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:  # (K, B, inputs)
        hidden = self.embedding(x).unsqueeze(1)  # (K, 1, B, inputs)
        for layer in self.hidden:
            hidden = self.activate(layer(hidden))  # (K, E, B, units)
            flat = drop(hidden.flatten(1, 2), noise)
            hidden = flat.unflatten(1, (self.ensemble, -1))
        outputs: Tensor = self.heads(hidden)  # (K, E, B, outputs)
        return outputs.transpose(1, 2)
