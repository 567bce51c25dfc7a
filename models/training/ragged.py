"""Rows of folds of different sizes as one rectangle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class RaggedRows:
    """Row numbers of K folds, padded to the longest with row 0 of weight 0.

    index : (K, M) int64
    weight : (K, M), 1 for a row, 0 for padding
    """

    index: Tensor
    weight: Tensor

    @classmethod
    def pad(
        cls,
        rows: Sequence[np.ndarray | Tensor],
        dtype: torch.dtype,
        device: torch.device,
        multiple: int = 1,
    ) -> RaggedRows:
        """Pad to the longest, rounded up to a multiple of `multiple`."""
        longest = -(-max(len(one) for one in rows) // multiple) * multiple
        index = torch.zeros(len(rows), longest, dtype=torch.int64)
        weight = torch.zeros(len(rows), longest, dtype=dtype)
        for member, one in enumerate(rows):
            index[member, : len(one)] = torch.as_tensor(one)
            weight[member, : len(one)] = 1
        return cls(index.to(device), weight.to(device))

    def span(self, start: int, stop: int) -> RaggedRows:
        return RaggedRows(self.index[:, start:stop], self.weight[:, start:stop])

    def take(self, members: Tensor) -> RaggedRows:
        return RaggedRows(self.index[members], self.weight[members])
