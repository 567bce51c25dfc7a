"""The range of a model's predictions, which follows from its training targets."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

Vector = NDArray[np.float64]


class Bounds(BaseModel):
    """The bounds of each of K members, on the target's own scale.

    low, high : predictions are clipped to these
    overflow : prediction for a row whose numbers overflow the network; no other row gets it
    """

    low: list[float]
    high: list[float]
    overflow: list[float]

    @cached_property
    def arrays(self) -> tuple[Vector, Vector, Vector]:
        """low, high and overflow (K, 1), cached because making them takes longer than comparing."""
        low, high, overflow = (
            np.array(part)[:, None] for part in (self.low, self.high, self.overflow)
        )
        return low, high, overflow

    def reached(self, members: Vector, first: int) -> NDArray[np.bool_]:
        """(N,) whether one of the members from `first` on was clipped; members (K, N)."""
        served = members[first:]
        low, high, overflow = (part[first:] for part in self.arrays)
        reached: NDArray[np.bool_] = (
            (served <= low) | (served >= high) | (served == overflow)
        ).any(axis=0)
        return reached

    def range(self, first: int) -> tuple[float, float]:
        """The range that the members from `first` on can predict."""
        return min(self.low[first:]), max(self.high[first:])
