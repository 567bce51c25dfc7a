"""Successive halving of a population's trials (Jamieson and Talwalkar 2016, arXiv 1502.07943)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Halving:
    """After `min_epochs`, `min_epochs · factor`, `min_epochs · factor²` … epochs, the best 1/factor
    of the trials go on."""

    factor: int
    min_epochs: int

    def rungs(self, max_epochs: int) -> list[int]:
        """The epochs after which trials leave."""
        epochs, rung = [], self.min_epochs
        while rung < max_epochs:
            epochs.append(rung)
            rung *= self.factor
        return epochs

    def losers(self, losses: Mapping[int, float]) -> set[int]:
        """The trials that leave, from the loss of each that still trains; of equal ones the later
        leave. At least one goes on."""
        ranked = sorted(losses, key=lambda trial: (losses[trial], trial))
        return {*ranked[max(1, -(-len(ranked) // self.factor)) :]}
