"""Linear regression."""

from __future__ import annotations

from torch import Tensor

from models.networks.population import DenseStack, InputShape, Linear, Network, Noise
from models.spec import TrainingSpec


class LinearNetwork(Network):
    """One affine map from the inputs to the output.

    Input: (K, B, inputs). Output: (K, B, 1).
    """

    def __init__(self, members: int, shape: InputShape, spec: TrainingSpec) -> None:  # noqa: ARG002
        super().__init__()
        self.output = Linear(members, shape.width, 1)

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:  # noqa: ARG002
        output: Tensor = self.output(x)
        return output

    def dense_stack(self) -> DenseStack:
        return DenseStack([self.output], "identity")
