"""The multilayer perceptron."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from models.members import Member
from models.networks.embedding import PlainInputs, embed_inputs
from models.networks.normalization import normalization
from models.networks.population import (
    Activate,
    DenseStack,
    Linear,
    Network,
    Noise,
    Shape,
    drop,
)
from models.spec import TrainingSpec
from models.spec.architectures import MlpArchitecture


class Mlp(Network):
    """Affine map, normalisation, activation, dropout for each hidden layer, then an affine output.

    With `linear_path`, a linear model of the inputs is added to the output.

    Input: (K, B, inputs). Output: (K, B, 1, outputs).
    """

    def __init__(self, members: int, shape: Shape, spec: TrainingSpec) -> None:
        super().__init__()
        architecture = spec.architecture
        assert isinstance(architecture, MlpArchitecture)
        self.embedding = embed_inputs(members, shape, architecture)
        sizes = [self.embedding.width, *architecture.hidden_sizes]
        self.hidden = nn.ModuleList(Linear(members, a, b) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(
            normalization(architecture.normalization, members, units) for units in sizes[1:]
        )
        self.output = Linear(members, sizes[-1], shape.outputs)
        self.shortcut = (
            Linear(members, sizes[0], shape.outputs) if architecture.linear_path else None
        )
        self.activate = Activate(architecture.activation)
        self.plain = architecture.normalization == "none" and isinstance(
            self.embedding, PlainInputs
        )

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:  # (K, B, inputs)
        inputs = hidden = self.embedding(x)
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            hidden = self.activate(norm(layer(hidden), noise))  # (K, B, units)
            hidden = drop(hidden, noise)
        output: Tensor = self.output(hidden)
        if self.shortcut is not None:
            output = output + self.shortcut(inputs)
        return output.unsqueeze(2)

    def input_axes(self) -> dict[str, int]:
        return {"hidden.0.weight": 0} | ({} if self.shortcut is None else {"shortcut.weight": 0})

    def output_layers(self) -> list[Linear]:
        return [self.output] if self.shortcut is None else [self.output, self.shortcut]

    def line(self, member: Member) -> Linear | None:
        architecture = member.spec.architecture
        assert isinstance(architecture, MlpArchitecture)
        return self.shortcut if architecture.linear_path == "least_squares" else None

    def dense_stack(self) -> DenseStack | None:
        if not self.plain:
            return None
        layers = [layer for layer in self.hidden if isinstance(layer, Linear)]
        return DenseStack([*layers, self.output], self.activate.name, self.shortcut)
