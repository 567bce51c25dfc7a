"""The target's scale: standardised for the network, restored for the reader."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from models.data.preprocessing import FoldStatistics
from models.spec import Preprocessing


class TargetScale(nn.Module):
    """Standardises by each fold's training rows, on the log scale or not.

    Everything is float64 but what goes into the loss.
    """

    center: Tensor  # (F, 1)
    scale: Tensor  # (F, 1)
    low: Tensor  # (F, 1) bounds of a prediction on the target's own scale
    high: Tensor  # (F, 1)
    smearing: Tensor  # (F, 1) factor from about the median to the mean
    overflow: Tensor  # (F, 1) the price of a row whose numbers overflow the network

    def __init__(self, statistics: FoldStatistics, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.log = preprocessing.target_transform == "log"
        self.smeared = self.log and preprocessing.retransform == "mean"

        def per_fold(name: str, values: np.ndarray) -> None:
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float64).unsqueeze(1))

        per_fold("center", statistics.target_center)
        per_fold("scale", statistics.target_scale)
        per_fold("low", statistics.target_low)
        per_fold("high", statistics.target_high)
        self.register_buffer("smearing", torch.ones_like(self.scale))
        self.register_buffer("overflow", self._overflow())

    def standardize(self, target: Tensor) -> Tensor:
        """(F, N) targets on their own scale to (F, N) standardised ones."""
        transformed = torch.log(target) if self.log else target
        return (transformed - self.center) / self.scale

    def restore(self, output: Tensor) -> Tensor:
        """(F, N) raw outputs to (F, N) predictions on the target's own scale."""
        transformed = output.double() * self.scale + self.center
        price = torch.exp(transformed) if self.log else transformed
        if self.smeared:
            price = price * self.smearing
        bounded = torch.minimum(torch.maximum(price, self.low), self.high)
        return torch.where(torch.isnan(output), self.overflow, bounded)

    def smear(self, factors: Tensor) -> None:
        """Multiply each fold's predictions by its own of (F,) factors from now on."""
        self.smearing = factors.double().unsqueeze(1)
        self.overflow = self._overflow()

    def _overflow(self) -> Tensor:
        """The mean; rather the next number above it, so that no other row has the same price."""
        middle = torch.exp(self.center) * self.smearing if self.log else self.center
        above = torch.nextafter(middle, torch.full_like(middle, torch.inf))
        return torch.minimum(torch.maximum(above, self.low), self.high)
