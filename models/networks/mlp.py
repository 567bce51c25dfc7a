"""The multilayer perceptron."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from models.networks.population import Linear, Network, Noise, activate
from models.spec import MlpArchitecture, TrainingSpec


class Mlp(Network):
    """Affine map, activation, dropout for each hidden layer, then an affine output.

    Input: (K, B, inputs). Output: (K, B, outputs).
    """

    def __init__(self, members: int, inputs: int, outputs: int, spec: TrainingSpec) -> None:
        super().__init__()
        assert isinstance(spec.architecture, MlpArchitecture)
        sizes = [inputs, *spec.architecture.hidden_sizes]
        self.hidden = nn.ModuleList(Linear(members, a, b) for a, b in pairwise(sizes))
        self.output = Linear(members, sizes[-1], outputs)
        self.activation = spec.architecture.activation
        self.dropout = spec.dropout

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:  # (K, B, inputs)
        for layer in self.hidden:
            x = activate(self.activation, layer(x))  # (K, B, units)
            if noise is not None and self.dropout > 0:
                x = x * noise.keep(self.dropout, x.shape[1], x.shape[2])
        output: Tensor = self.output(x)
        return output  # (K, B, outputs)
