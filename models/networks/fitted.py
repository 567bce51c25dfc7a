"""Networks in name only: functions of the same inputs that are solved, not trained in epochs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.networks.population import Network

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """A fold's training rows, and what to learn from them.

    x : (n, inputs) float32
    y : (n,) what the loss takes: a standardised number, or the index of a class
    weights : (n,) of the rows in the loss, or None
    outputs : values per row; 1 for a number, otherwise one per class
    seed : of everything random
    """

    x: NDArray[np.float32]
    y: Vector
    weights: Vector | None
    outputs: int
    seed: int


class FittedNetwork(Network):
    """A population whose members are solved one after another.

    What a member learns is in persistent buffers (K, …), whose sizes follow from the shape and the
    spec alone, so that members can be stacked, taken and saved like networks.
    """

    @abstractmethod
    def fit(self, place: int, problem: Problem) -> None:
        """Solve one member, the same to the bit with the same problem on one core. Raises
        ValueError, with what to do, if there is no finite solution."""
