"""Losses of single rows, on the standardised target's scale."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from models.spec import Loss


def row_losses(loss: Loss, prediction: Tensor, target: Tensor) -> Tensor:
    """Elementwise loss of (K, B) predictions.

    `squared_error` is (ŷ − y)² and `huber` turns from squared to absolute at one standard
    deviation of the target.
    """
    match loss:
        case "squared_error":
            return functional.mse_loss(prediction, target, reduction="none")
        case "absolute_error":
            return functional.l1_loss(prediction, target, reduction="none")
        case "huber":
            return functional.huber_loss(prediction, target, reduction="none")


def loss_slopes(loss: Loss, prediction: Tensor, target: Tensor) -> Tensor:
    """Derivative of `row_losses` by the prediction, (K, B)."""
    difference = prediction - target
    match loss:
        case "squared_error":
            return 2 * difference
        case "absolute_error":
            return torch.sign(difference)
        case "huber":
            return difference.clamp(-1, 1)
