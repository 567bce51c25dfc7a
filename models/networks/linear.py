"""Linear and logistic regression, and the perceptron."""

from __future__ import annotations

from torch import Tensor

from models.members import Member
from models.networks.population import DenseStack, Linear, Network, Noise, Shape
from models.spec import TrainingSpec
from models.spec.architectures import LinearArchitecture, PerceptronArchitecture


class LinearNetwork(Network):
    """One affine map from the inputs to the outputs.

    Input: (K, B, inputs). Output: (K, B, 1, outputs).
    """

    def __init__(self, members: int, shape: Shape, spec: TrainingSpec) -> None:  # noqa: ARG002
        super().__init__()
        self.output = Linear(members, shape.inputs, shape.outputs)

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:  # noqa: ARG002
        output: Tensor = self.output(x)
        return output.unsqueeze(2)

    def input_axes(self) -> dict[str, int]:
        return {"output.weight": 0}

    def output_layers(self) -> list[Linear]:
        return [self.output]

    def line(self, member: Member) -> Linear | None:
        own = member.spec.architecture
        assert isinstance(own, LinearArchitecture | PerceptronArchitecture)
        return self.output if own.initialization == "least_squares" else None

    def dense_stack(self) -> DenseStack:
        return DenseStack([self.output], "identity")
