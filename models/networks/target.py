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
    low: Tensor  # (F, 1) bounds of a standardised prediction
    high: Tensor  # (F, 1)

    def __init__(self, statistics: FoldStatistics, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.log = preprocessing.target_transform == "log"

        def per_fold(name: str, values: np.ndarray) -> None:
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float64).unsqueeze(1))

        per_fold("center", statistics.target_center)
        per_fold("scale", statistics.target_scale)
        per_fold("low", statistics.target_low)
        per_fold("high", statistics.target_high)

    def standardize(self, target: Tensor) -> Tensor:
        """(F, N) targets on their own scale to (F, N) standardised ones."""
        transformed = torch.log(target) if self.log else target
        return (transformed - self.center) / self.scale

    def restore(self, output: Tensor) -> Tensor:
        """(F, N) raw outputs to (F, N) predictions on the target's own scale."""
        # A row beyond all bounds may overflow the network: it is priced as the mean is.
        known = torch.where(torch.isnan(output), 0.0, output.double())
        bounded = torch.minimum(torch.maximum(known, self.low), self.high)
        transformed = bounded * self.scale + self.center
        return torch.exp(transformed) if self.log else transformed
