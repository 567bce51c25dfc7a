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


# Losses of classes: outputs (…, C), and targets (…) that are class indices.


class CrossEntropy:
    """−Σ q log softmax(f), with q = 1 − s for the true class, and s spread over all C
    (Szegedy et al. 2016, arXiv 1512.00567).

    Computed as log Σ exp(f) − Σ q f, which overflows for no f.
    """

    def __init__(self, smoothing: float = 0.0) -> None:
        self._smoothing = smoothing

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        true = _of_class(outputs, targets)
        if self._smoothing > 0:
            true = (1 - self._smoothing) * true + self._smoothing * outputs.mean(-1)
        return outputs.logsumexp(-1) - true

    def slopes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        slopes = outputs.softmax(-1)
        slopes.sub_(_one_hot(outputs, targets), alpha=1 - self._smoothing)
        return slopes.sub_(self._smoothing / outputs.shape[-1]) if self._smoothing else slopes


class Margin:
    """max(0, target − m) of the margin m, the output of the true class minus the largest other one
    (Crammer and Singer 2001, "On the algorithmic implementation of multiclass kernel-based vector
    machines"). With two classes and f the difference of their outputs, m = ±f.

    least : 1 for the hinge loss, 0 for the perceptron's. At m = least the slope is that below it:
        the perceptron also moves where m = 0 (Rosenblatt 1958).
    """

    def __init__(self, least: float) -> None:
        self._least = least

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (self._least - self._margins(outputs, targets)[0]).clamp(min=0)

    def slopes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        margins, true, rival = self._margins(outputs, targets)
        wrong = (margins <= self._least).to(outputs.dtype).unsqueeze(-1)
        slopes = torch.zeros_like(outputs)
        return slopes.scatter_(-1, true, -wrong).scatter_(-1, rival, wrong)

    def _margins(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(…) margins, and the indices (…, 1) of the true class and of its nearest rival."""
        true = targets.long().unsqueeze(-1)
        others = outputs.scatter(-1, true, -torch.inf)
        highest, rival = others.max(-1, keepdim=True)
        return (outputs.gather(-1, true) - highest).squeeze(-1), true, rival


def _of_class(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.gather(-1, targets.long().unsqueeze(-1)).squeeze(-1)


def _one_hot(outputs: Tensor, targets: Tensor) -> Tensor:
    ones = torch.zeros_like(outputs)
    return ones.scatter_(-1, targets.long().unsqueeze(-1), 1.0)


def loss_of(name: Loss, label_smoothing: float = 0.0) -> RowLoss:
    """The loss with this name in a spec."""
    match name:
        case "squared_error":
            return SquaredError()
        case "absolute_error":
            return AbsoluteError()
        case "huber":
            return Huber()
        case "cross_entropy":
            return CrossEntropy(label_smoothing)
        case "hinge":
            return Margin(1.0)
        case "perceptron":
            return Margin(0.0)


def _total(losses: Tensor) -> Tensor:
    """Sum over the outputs; skipped for one output, which saves a kernel call."""
    return losses[..., 0] if losses.shape[-1] == 1 else losses.sum(-1)
