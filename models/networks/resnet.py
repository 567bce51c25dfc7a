"""The residual network for tables."""

from __future__ import annotations

from torch import Tensor, nn

from models.networks.embedding import embed_inputs
from models.networks.normalization import normalization
from models.networks.population import Activate, Linear, Network, Noise, Shape, drop
from models.spec import TrainingSpec
from models.spec.architectures import ResNetArchitecture


class ResNet(Network):
    """x + Dropout(Linear(Dropout(σ(Linear(Norm(x)))))), block after block, then a head
    Linear(σ(Norm(x))) (Gorishniy et al. 2021, arXiv 2106.11959, section 3.2).

    Input: (K, B, inputs). Output: (K, B, 1, outputs).
    """

    def __init__(self, members: int, shape: Shape, spec: TrainingSpec) -> None:
        super().__init__()
        architecture = spec.architecture
        assert isinstance(architecture, ResNetArchitecture)
        width = architecture.width
        self.embedding = embed_inputs(members, shape, architecture)
        self.first = Linear(members, self.embedding.width, width)
        blocks = range(architecture.blocks)
        inner = architecture.block_width
        self.norms = nn.ModuleList(
            normalization(architecture.normalization, members, width)
            for _ in range(architecture.blocks + 1)
        )
        self.widen = nn.ModuleList(Linear(members, width, inner) for _ in blocks)
        self.narrow = nn.ModuleList(Linear(members, inner, width) for _ in blocks)
        self.output = Linear(members, width, shape.outputs)
        self.activate = Activate(architecture.activation)

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:  # (K, B, inputs)
        stream = self.first(self.embedding(x))  # (K, B, width)
        for norm, widen, narrow in zip(self.norms[:-1], self.widen, self.narrow, strict=True):
            hidden = self.activate(widen(norm(stream, noise)))
            stream = stream + drop(narrow(drop(hidden, noise)), noise)
        output: Tensor = self.output(self.activate(self.norms[-1](stream, noise)))
        return output.unsqueeze(2)

    def input_axes(self) -> dict[str, int]:
        return {"first.weight": 0}

    def output_layers(self) -> list[Linear]:
        return [self.output]
