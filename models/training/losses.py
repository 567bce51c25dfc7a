"""Losses of single rows, on the standardised target's scale."""

from __future__ import annotations

import torch
from torch import Tensor

from models.spec import Loss


def row_losses(loss: Loss, output: Tensor, target: Tensor) -> Tensor:
    """(…) loss of each row from raw outputs (…, outputs) and targets (…).

    `squared_error` is (ŷ − y)² and `huber` turns from squared to absolute at one standard
    deviation of the target.
    """
    # Written out: torch.nn.functional's take several times as long for a batch, with their checks.
    difference = output[..., 0] - target
    match loss:
        case "squared_error":
            return difference.square()
        case "absolute_error":
            return difference.abs()
        case "huber":
            size = difference.abs()
            return torch.where(size < 1, 0.5 * size.square(), size - 0.5)


def loss_slopes(loss: Loss, output: Tensor, target: Tensor) -> Tensor:
    """(…, outputs) derivative of `row_losses` by the outputs."""
    difference = output - target.unsqueeze(-1)
    match loss:
        case "squared_error":
            return difference.mul_(2)
        case "absolute_error":
            return difference.sign_()
        case "huber":
            return difference.clamp_(-1, 1)
