"""Dropout masks that depend on the fold and the batch, not on other members."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.members import Member
from models.randomness import stream_seed

# Two random bytes decide about a unit, so probabilities are rounded to multiples of 1/65,536. The
# bytes are int64 draws viewed as int16, several times faster than a float32 per unit.
LEVELS = 65_536
UNITS_PER_DRAW = 4


class PopulationNoise:
    """Dropout of K members (`models.networks.population.Noise`).

    The trials of a fold compare the same random numbers with their own probabilities (common random
    numbers), so that they differ only by their specs.
    """

    def __init__(self, members: Sequence[Member], dtype: torch.dtype, device: torch.device):
        self._dtype = dtype
        self._device = device
        streams = list(dict.fromkeys(member.stream for member in members))
        self._streams = {stream: torch.Generator(device) for stream in streams}
        self._seed = members[0].spec.seed
        # None if each member has its own stream.
        self._stream_of = (
            None
            if len(streams) == len(members)
            else torch.tensor([streams.index(m.stream) for m in members], device=device)
        )
        thresholds = [min(round(member.spec.dropout * LEVELS), LEVELS - 1) for member in members]
        self._used = any(thresholds)
        column = torch.tensor(thresholds, device=device).view(-1, 1, 1)
        self._thresholds = (column - LEVELS // 2).to(torch.int16)
        self._scales = (LEVELS / (LEVELS - column)).to(dtype)

    present: Tensor

    def begin(self, epoch: int, block: int) -> None:
        """Draw from this block's stream from now on."""
        for stream, generator in self._streams.items():
            generator.manual_seed(stream_seed(self._seed, "dropout", *stream, epoch, block))

    def keep(self, rows: int, units: int) -> Tensor | None:
        """(K, rows, units): 1 / (1 − p) with probability 1 − p, else 0; None if every p is 0."""
        if not self._used:
            return None
        draws = torch.empty(
            len(self._streams),
            -(-rows * units // UNITS_PER_DRAW),
            dtype=torch.int64,
            device=self._device,
        )
        for row, generator in zip(draws, self._streams.values(), strict=True):
            row.random_(-(2**63), None, generator=generator)
        bits = draws.view(torch.int16)[:, : rows * units].view(-1, rows, units)
        if self._stream_of is not None:
            bits = bits.index_select(0, self._stream_of)
        # Comparing straight into numbers takes a sixth of the time of converting from bool.
        kept = torch.empty(len(self._scales), rows, units, dtype=self._dtype, device=self._device)
        return torch.ge(bits, self._thresholds, out=kept).mul_(self._scales)
