"""Learnt embeddings of numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.networks.population import Shape
from models.spec.architectures import Architecture, Periodic


class PeriodicEmbedding(nn.Module):
    """Each number and a small network of its sines: "PBLD" of Holzmüller et al. 2024
    (arXiv 2407.04491), after Gorishniy et al. 2022 (arXiv 2203.05556).

    Number x of a column becomes (x, cos(2π f x + b) · W + c), `size` values in all.

    Input: (K, B, width), the first D columns numbers. Output: (K, B, D · size + width − D).
    """

    def __init__(self, members: int, shape: Shape, settings: Periodic) -> None:
        super().__init__()
        columns, waves, size = shape.numeric, settings.frequencies, settings.size
        self.numeric = columns
        self.scale = settings.scale
        self.frequency = nn.Parameter(torch.empty(members, columns, waves))
        self.phase = nn.Parameter(torch.empty(members, columns, waves))
        self.mix_weight = nn.Parameter(torch.empty(members, columns, waves, size - 1))
        self.mix_bias = nn.Parameter(torch.empty(members, columns, size - 1))
        self.width = shape.inputs + columns * (size - 1)

    def initialize(self, member: int, generator: torch.Generator) -> None:
        """Fill one member's weights."""
        with torch.no_grad():
            bound = 1 / math.sqrt(self.mix_weight.shape[2])
            self.frequency[member].normal_(0, self.scale, generator=generator)
            self.phase[member].uniform_(-math.pi, math.pi, generator=generator)
            self.mix_weight[member].uniform_(-bound, bound, generator=generator)
            self.mix_bias[member].uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        numbers = x[..., : self.numeric]  # (K, B, D)
        angle = 2 * math.pi * numbers.unsqueeze(-1) * self.frequency.unsqueeze(1)
        waves = torch.cos(angle + self.phase.unsqueeze(1))  # (K, B, D, waves)
        mixed = torch.matmul(waves.unsqueeze(-2), self.mix_weight.unsqueeze(1)).squeeze(-2)
        mixed = mixed + self.mix_bias.unsqueeze(1)  # (K, B, D, size − 1)
        return torch.cat([x, mixed.flatten(2)], dim=-1)


class PlainInputs(nn.Module):
    """The encoder's columns, unchanged."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.width = shape.inputs

    def forward(self, x: Tensor) -> Tensor:
        return x


def embed_inputs(
    members: int, shape: Shape, architecture: Architecture
) -> PeriodicEmbedding | PlainInputs:
    """The embedding of an architecture. Piecewise-linear codes are computed by the encoder."""
    embedding = getattr(architecture, "numeric_embedding", None)
    if isinstance(embedding, Periodic):
        return PeriodicEmbedding(members, shape, embedding)
    return PlainInputs(shape)
