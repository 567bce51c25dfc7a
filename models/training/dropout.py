"""Dropout masks that depend on the fold and the place in training, not on the company."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.members import Member
from models.randomness import stream_seed

# Two random bytes decide on a unit, so a probability is rounded to a multiple of 1/65,536. Bytes
# come from int64 draws viewed as int16, several times faster than one float32 a unit.
LEVELS = 65_536
UNITS_PER_DRAW = 4


class PopulationNoise:
    """Dropout of K members (`models.networks.population.Noise`).

    The trials of a fold compare the same random numbers with probabilities of their own (common
    random numbers), so that they differ by what their specs differ in.
    """

    def __init__(self, members: Sequence[Member], dtype: torch.dtype, device: torch.device):
        self._dtype = dtype
        self._device = device
        streams = list(dict.fromkeys(member.stream for member in members))
        self._streams = {stream: torch.Generator(device) for stream in streams}
        self._seed = members[0].spec.seed
        # None where each member has its own stream.
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
        """Draw from here on what belongs to this block."""
        for stream, generator in self._streams.items():
            generator.manual_seed(stream_seed(self._seed, "dropout", *stream, epoch, block))

    def keep(self, rows: int, units: int) -> Tensor | None:
        """(K, rows, units): 1 / (1 − p) with probability 1 − p, else 0; None where no p is > 0."""
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
        # A comparison that writes numbers at once takes a sixth of one to bool that is converted.
        kept = torch.empty(len(self._scales), rows, units, dtype=self._dtype, device=self._device)
        return torch.ge(bits, self._thresholds, out=kept).mul_(self._scales)
