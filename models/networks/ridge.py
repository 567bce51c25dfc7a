"""Ridge regression with a penalty chosen per fold."""

from __future__ import annotations

import torch
from torch import Tensor

from models.networks.fitted import FittedNetwork, Problem
from models.networks.population import Noise, Shape
from models.objectives.regression.leave_one_out import best_line
from models.spec import TrainingSpec


class Ridge(FittedNetwork):
    """A line through the inputs; see `best_line`.

    Input: (K, B, inputs). Output: (K, B, 1, 1).
    """

    weight: Tensor  # (K, inputs, 1)
    bias: Tensor  # (K, 1, 1)

    def __init__(self, members: int, shape: Shape, spec: TrainingSpec) -> None:  # noqa: ARG002
        super().__init__()
        self.register_buffer("weight", torch.zeros(members, shape.inputs, 1))
        self.register_buffer("bias", torch.zeros(members, 1, 1))

    def fit(self, place: int, problem: Problem) -> None:
        line = best_line(problem.x.astype("float64"), problem.y, problem.weights)
        self.weight[place, :, 0] = torch.from_numpy(line.weight)
        self.bias[place] = line.bias

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:  # noqa: ARG002
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return torch.baddbmm(bias, x, weight).unsqueeze(2)
