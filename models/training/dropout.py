"""Dropout masks that depend on the fold and the place in training, not on the company."""

from __future__ import annotations

import torch
from torch import Tensor

from models.randomness import stream_seed

# Two random bytes decide on a unit, so a probability is rounded to a multiple of 1/65,536. Bytes
# come from int64 draws viewed as int16, several times faster than one float32 a unit.
LEVELS = 65_536
UNITS_PER_DRAW = 4


class FoldNoise:
    """One generator a fold, set anew at each block of batches (`models.networks.Noise`)."""

    def __init__(self, seed: int, folds: list[int], dtype: torch.dtype, device: torch.device):
        self._seed = seed
        self._folds = folds
        self._dtype = dtype
        self._device = device
        self._generators = [torch.Generator(device) for _ in folds]

    def begin(self, epoch: int, block: int) -> None:
        """Draw from here on what belongs to this block."""
        for fold, generator in zip(self._folds, self._generators, strict=True):
            generator.manual_seed(stream_seed(self._seed, "dropout", fold, epoch, block))

    def keep(self, probability: float, rows: int, units: int) -> Tensor:
        """(K, rows, units): 1 / (1 − p) with probability 1 − p, else 0."""
        threshold = round(probability * LEVELS)
        draws = torch.empty(
            len(self._folds),
            -(-rows * units // UNITS_PER_DRAW),
            dtype=torch.int64,
            device=self._device,
        )
        for row, generator in zip(draws, self._generators, strict=True):
            row.random_(-(2**63), None, generator=generator)
        bits = draws.view(torch.int16)[:, : rows * units].view(-1, rows, units)
        kept = (bits >= threshold - LEVELS // 2).to(self._dtype)
        return kept.mul_(LEVELS / (LEVELS - threshold))
