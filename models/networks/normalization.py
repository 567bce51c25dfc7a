"""Normalises hidden units, by batch or by row; in the precision of the weights, as torch does where
products are rounded to sixteen bits."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from models.networks.population import Noise

EPSILON = 1e-5
# Weight of a batch in the running statistics that predictions use.
MOMENTUM = 0.1


class BatchNorm(nn.Module):
    """Batch normalisation of K members, without padding (Ioffe and Szegedy 2015,
    arXiv 1502.03167).

    A batch of one row has no variance. Such a row, the last of an epoch, is normalised as in
    prediction and does not change the statistics.

    Input and output: (K, B, units).
    """

    running_mean: Tensor  # (K, 1, units)
    running_variance: Tensor  # (K, 1, units)

    def __init__(self, members: int, units: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(members, 1, units))
        self.shift = nn.Parameter(torch.zeros(members, 1, units))
        self.register_buffer("running_mean", torch.zeros(members, 1, units))
        self.register_buffer("running_variance", torch.ones(members, 1, units))

    def forward(self, x: Tensor, noise: Noise | None) -> Tensor:
        x = x.to(self.scale.dtype)
        if noise is None:
            mean, variance = self.running_mean, self.running_variance
        else:
            present = noise.present.to(x.dtype)
            rows = present.sum(1, keepdim=True).clamp(min=1)  # (K, 1, 1)
            mean = (x * present).sum(1, keepdim=True) / rows
            variance = ((x - mean).square() * present).sum(1, keepdim=True) / rows
            several = rows > 1
            self._follow(mean.detach(), variance.detach(), rows, several)
            mean = torch.where(several, mean, self.running_mean)
            variance = torch.where(several, variance, self.running_variance)
        return (x - mean) / torch.sqrt(variance + EPSILON) * self.scale + self.shift

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, rows: Tensor, several: Tensor) -> None:
        """Update the running statistics of the members that have several rows."""
        unbiased = variance * rows / (rows - 1).clamp(min=1)
        weight = MOMENTUM * several.to(mean.dtype)
        self.running_mean.lerp_(mean, weight)
        self.running_variance.lerp_(unbiased, weight)


class LayerNorm(nn.Module):
    """Layer normalisation of K members (Ba et al. 2016, arXiv 1607.06450).

    Input and output: (K, B, units).
    """

    def __init__(self, members: int, units: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(members, 1, units))
        self.shift = nn.Parameter(torch.zeros(members, 1, units))

    def forward(self, x: Tensor, noise: Noise | None) -> Tensor:  # noqa: ARG002
        x = x.to(self.scale.dtype)
        mean = x.mean(-1, keepdim=True)
        variance = (x - mean).square().mean(-1, keepdim=True)
        return (x - mean) / torch.sqrt(variance + EPSILON) * self.scale + self.shift


class NoNorm(nn.Module):
    """Returns (K, B, units) unchanged."""

    def forward(self, x: Tensor, noise: Noise | None) -> Tensor:  # noqa: ARG002
        return x


def normalization(name: Literal["none", "batch", "layer"], members: int, units: int) -> nn.Module:
    match name:
        case "batch":
            return BatchNorm(members, units)
        case "layer":
            return LayerNorm(members, units)
        case "none":
            return NoNorm()
