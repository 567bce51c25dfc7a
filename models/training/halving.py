"""Successive halving of a population's trials (Jamieson and Talwalkar 2016, arXiv 1502.07943)."""

from __future__ import annotations

from collections.abc import Mapping

from models.spec.sweep import Halving


def rungs(halving: Halving, max_epochs: int) -> list[int]:
    """The epochs after which trials leave: `min_epochs`, `min_epochs · factor`, …"""
    epochs, rung = [], halving.min_epochs
    while rung < max_epochs:
        epochs.append(rung)
        rung *= halving.factor
    return epochs


def losers(halving: Halving, losses: Mapping[int, float]) -> set[int]:
    """The trials that leave: all but the best 1/factor of those that still train, whose losses are
    given. Of equal ones the later leave. At least one goes on."""
    ranked = sorted(losses, key=lambda trial: (losses[trial], trial))
    return {*ranked[max(1, -(-len(ranked) // halving.factor)) :]}
