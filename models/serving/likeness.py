"""How alike two rows are in what matters for the target.

A ridge regression on the training rows says what each cell adds to the target. A row is placed by
these contributions, in standard deviations of the target; d is the Euclidean distance between two
places, and exp(−d) the similarity of the rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from models.data.design import Codes, Numbers
from models.serving.reference import Vector

Places = NDArray[np.float32]


class Likeness(BaseModel):
    """What places a row of D numbers and C codes; A is 1 for a number, or counts classes.

    fill, center, scale : (D,) of numbers: what replaces a missing one, and standard scaling
    reach : scaled numbers are clipped here
    factor : (D,) contribution of a scaled number
    contributions : for each categorical column the (A,) contributions of its levels, by code; the
        last are those of all other levels
    """

    fill: list[float]
    center: list[float]
    scale: list[float]
    reach: float
    factor: list[float]
    contributions: list[list[list[float]]]

    @property
    def width(self) -> int:
        """Coordinates of a place: D + C·A."""
        return len(self.factor) + sum(len(levels[0]) for levels in self.contributions)


class Space:
    """`Likeness` as arrays."""

    def __init__(self, likeness: Likeness) -> None:
        self.width = likeness.width
        self._fill, self._center, self._scale, self._factor = (
            np.array(values)
            for values in (likeness.fill, likeness.center, likeness.scale, likeness.factor)
        )
        self._reach = likeness.reach
        self._contributions = [np.array(levels) for levels in likeness.contributions]

    def places(self, numbers: Numbers, codes: Codes) -> Places:
        """(N, S) of rows, numbers (N, D) and codes (N, C)."""
        filled = np.where(np.isnan(numbers), self._fill, numbers)
        with np.errstate(over="ignore"):  # clipped in the next step
            scaled = (filled - self._center) / self._scale
        parts = [np.clip(scaled, -self._reach, self._reach) * self._factor]
        for column, levels in zip(codes.T, self._contributions, strict=True):
            parts.append(levels[np.minimum(column, len(levels) - 1)])
        return np.concatenate(parts, axis=1, dtype=np.float32)


def similarity(distance: Vector) -> Vector:
    """1 at the same place, falling to 0."""
    return np.exp(-distance)
