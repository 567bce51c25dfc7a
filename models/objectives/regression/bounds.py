"""How far a model's predictions go: what the targets of training leave room for."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

Vector = NDArray[np.float64]


class Bounds(BaseModel):
    """Of each of K members, on the target's own scale.

    low, high : what a prediction beyond them is cut off at
    overflow : what a row gets whose numbers overflow the network; no other row gets it
    """

    low: list[float]
    high: list[float]
    overflow: list[float]

    @cached_property
    def arrays(self) -> tuple[Vector, Vector, Vector]:
        """low, high and overflow (K, 1); to make them takes longer than to compare."""
        low, high, overflow = (
            np.array(part)[:, None] for part in (self.low, self.high, self.overflow)
        )
        return low, high, overflow

    def reached(self, members: Vector, first: int) -> NDArray[np.bool_]:
        """(N,) whether one of the members from `first` on was cut off; members (K, N)."""
        served = members[first:]
        low, high, overflow = (part[first:] for part in self.arrays)
        reached: NDArray[np.bool_] = (
            (served <= low) | (served >= high) | (served == overflow)
        ).any(axis=0)
        return reached

    def range(self, first: int) -> tuple[float, float]:
        """All that the members from `first` on can predict."""
        return min(self.low[first:]), max(self.high[first:])
