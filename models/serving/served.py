"""The function that is served: raw numbers and codes to prices, all folds at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.encoder import Encoder
from models.networks.population import Network, take
from models.networks.target import TargetScale


class ServedModel(nn.Module):
    """K fold models with their preprocessing and inverse target transform.

    Input
    -----
    numbers : (N, D) float64, NaN is missing
    codes : (N, C) int64

    Output
    ------
    value : (N,) float64, the members' mean on the target's own scale
    members : (K, N) float64
    """

    def __init__(self, encoder: Encoder, network: Network, target: TargetScale) -> None:
        super().__init__()
        self.encoder = encoder
        self.network = network
        self.target = target

    def forward(self, numbers: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        inputs = self.encoder(numbers.unsqueeze(0), codes.unsqueeze(0))
        members = self.target.restore(self.network(inputs)[..., 0])
        return members.mean(0), members

    def member(self, place: int) -> ServedModel:
        """The model of one fold alone."""
        return take(self, torch.tensor([place]))
