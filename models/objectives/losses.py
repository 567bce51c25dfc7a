"""Losses of single rows and their slopes, on the scale that a network learns.

A loss takes all outputs of a row, so losses of one and of several outputs have the same interface.
A test compares the derivatives written by hand with autograd.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from models.spec import Loss


class RowLoss(Protocol):
    """The loss of a row from its raw outputs."""

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(…) losses of outputs (…, O) against targets (…)."""

    def slopes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(…, O) derivatives of `rows` by the outputs, in a new tensor."""


# Written out, because torch.nn.functional's versions check their inputs and take several times as
# long for a batch. With several outputs, each of them predicts the one target.


class SquaredError:
    """(ŷ − y)²."""

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return _total((outputs - targets.unsqueeze(-1)).square())

    def slopes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets.unsqueeze(-1)).mul_(2)


class AbsoluteError:
    """|ŷ − y|."""

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return _total((outputs - targets.unsqueeze(-1)).abs())

    def slopes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets.unsqueeze(-1)).sign_()


class Huber:
    """Squared up to one standard deviation of the target, absolute beyond (Huber 1964)."""

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        size = (outputs - targets.unsqueeze(-1)).abs()
        return _total(torch.where(size < 1, 0.5 * size.square(), size - 0.5))

    def slopes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets.unsqueeze(-1)).clamp_(-1, 1)


LOSSES: dict[Loss, RowLoss] = {
    "squared_error": SquaredError(),
    "absolute_error": AbsoluteError(),
    "huber": Huber(),
}


def _total(losses: Tensor) -> Tensor:
    """Sum over the outputs; skipped for one output, which saves a kernel call."""
    return losses[..., 0] if losses.shape[-1] == 1 else losses.sum(-1)
