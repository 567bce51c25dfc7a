"""Loss and gradients of one batch of a population.

Stacks of affine maps, which most jobs train, are differentiated by hand, without a graph and into
buffers that are made once. On two cores that is about twice as fast as autograd for small networks.
All other networks use autograd; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from models.networks.population import DenseStack, Linear, Network, Noise, activate
from models.objectives.losses import RowLoss
from models.spec.architectures import Activation
from models.spec.training import Precision

aten = torch.ops.aten

SIXTEEN_BITS = {"bfloat16": torch.bfloat16, "float16": torch.float16}
# Below 6e-8 float16 is zero, so the loss is multiplied before gradients are taken, and they are
# divided in float32. A mean over rows of a standardised target leaves room up to 65,504.
LOSS_SCALE = 1024.0


class Gradients(Protocol):
    """Computes the gradients of a network's parameters."""

    def fill(self, x: Tensor, y: Tensor, share: Tensor, noise: Noise) -> Tensor:
        """Compute the gradients for one batch.

        Parameters
        ----------
        x : (F, B, inputs), one batch per fold, shared by its members
        y : (K, B) standardised targets
        share : (K, B) weight of a row in its member's mean loss: 1 / rows, or 0 for padding

        Returns
        -------
        (K,) the mean loss of each member, dropout included.
        """


def gradients_of(
    network: Network, loss: RowLoss, fold_of: Tensor, precision: Precision = "float32"
) -> Gradients:
    """The fastest method for this network; `fold_of` (K,) is the index of each member's fold."""
    if precision == "tf32":
        return Tf32Gradients(gradients_of(network, loss, fold_of))
    stack = network.dense_stack()
    if stack is None or precision != "float32":
        return AutogradGradients(network, loss, fold_of, precision)
    return DenseGradients(stack, loss, fold_of)


class Tf32Gradients:
    """Those of another method, whose products a GPU may compute in TF32: from factors with 10 bits
    of mantissa instead of 23, added up in float32. Other devices have no TF32."""

    def __init__(self, gradients: Gradients) -> None:
        self._gradients = gradients

    def fill(self, x: Tensor, y: Tensor, share: Tensor, noise: Noise) -> Tensor:
        with _tf32():
            return self._gradients.fill(x, y, share, noise)


@contextmanager
def _tf32() -> Iterator[None]:
    """torch's default is full float32: https://docs.pytorch.org/docs/stable/notes/cuda.html."""
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    products.fp32_precision = "tf32"
    try:
        yield
    finally:
        products.fp32_precision = before


class AutogradGradients:
    """Gradients of any network, by autograd; in sixteen bits its products are rounded to them."""

    def __init__(
        self, network: Network, loss: RowLoss, fold_of: Tensor, precision: Precision = "float32"
    ) -> None:
        self._network = network
        self._loss = loss
        self._fold_of = fold_of
        self._rounded = partial(
            torch.autocast,
            fold_of.device.type,
            dtype=SIXTEEN_BITS.get(precision),
            enabled=precision in SIXTEEN_BITS,
        )
        self._scale = LOSS_SCALE if precision == "float16" else 1.0
        self._alone = len(fold_of.unique()) == len(fold_of)

    def fill(self, x: Tensor, y: Tensor, share: Tensor, noise: Noise) -> Tensor:
        for parameter in self._network.parameters():
            if parameter.grad is not None:  # frozen layers have none
                parameter.grad.zero_()
        noise.present = (share > 0).unsqueeze(-1)
        # (K, B, E, outputs): each of an ensemble's E is trained; they are averaged to predict.
        with self._rounded():
            outputs = self._network(x if self._alone else x[self._fold_of], noise)
        outputs = outputs.to(y.dtype)
        losses = self._loss.rows(outputs, y.unsqueeze(-1).expand(outputs.shape[:-1]))
        means = (losses.mean(-1) * share).sum(1)
        (means.sum() * self._scale).backward()
        if self._scale != 1.0:
            for parameter in self._network.parameters():
                if parameter.grad is not None:
                    parameter.grad.div_(self._scale)
        return means.detach()


class DenseGradients:
    """Gradients of a stack: affine map, activation, dropout, …, affine output."""

    def __init__(self, stack: DenseStack, loss: RowLoss, fold_of: Tensor) -> None:
        self._stack = stack
        self._loss = loss
        self._weights = [layer.weight.detach() for layer in stack.layers]
        self._biases = [layer.bias.detach() for layer in stack.layers]
        self._rows = 0
        # (fold, first member, end) of the members that share a fold's batch.
        _, counts = torch.unique_consecutive(fold_of.cpu(), return_counts=True)
        ends = counts.cumsum(0).tolist()
        self._spans = list(zip(range(len(ends)), [0, *ends], ends, strict=False))
        self._alone = len(self._spans) == len(fold_of)

    def _allocate(self, rows: int) -> None:
        """Make buffers for batches of this many rows."""
        self._rows = rows
        shapes = [(len(bias), rows, bias.shape[2]) for bias in self._biases]
        self._sums = [self._biases[0].new_empty(shape) for shape in shapes]  # before activation
        self._slopes = [self._biases[0].new_empty(shape) for shape in shapes]  # ∂ loss / ∂ sums

    @torch.no_grad()
    def fill(self, x: Tensor, y: Tensor, share: Tensor, noise: Noise) -> Tensor:
        if x.shape[1] != self._rows:
            self._allocate(x.shape[1])
        activation, shortcut = self._stack.activation, self._stack.shortcut
        hidden: list[Tensor] = []  # outputs of the hidden layers
        masks: list[Tensor | None] = []
        self._from_inputs(x, self._weights[0], self._biases[0], self._sums[0])
        for place in range(1, len(self._weights)):
            units = activate(activation, self._sums[place - 1])  # (K, B, units)
            mask = noise.keep(units.shape[1], units.shape[2])
            masks.append(mask)
            hidden.append(units if mask is None else units.mul_(mask))
            _affine(self._biases[place], hidden[-1], self._weights[place], self._sums[place])
        output = self._sums[-1]  # (K, B, outputs)
        if shortcut is not None:
            beside = torch.empty_like(output)
            self._from_inputs(x, shortcut.weight.detach(), shortcut.bias.detach(), beside)
            output = output + beside
        means = (self._loss.rows(output, y) * share).sum(1)
        slopes = self._slopes[-1]
        torch.mul(self._loss.slopes(output, y), share.unsqueeze(-1), out=slopes)
        if shortcut is not None:
            self._to_inputs(x, slopes, shortcut)
        for place in reversed(range(1, len(self._weights))):
            slopes, below = self._slopes[place], self._slopes[place - 1]
            _fill_gradients(hidden[place - 1], slopes, self._stack.layers[place])
            if slopes.shape[2] == 1:  # an outer product
                torch.mul(slopes, self._weights[place].transpose(1, 2), out=below)
            else:
                torch.bmm(slopes, self._weights[place].transpose(1, 2), out=below)
            mask = masks[place - 1]
            if mask is not None:
                below.mul_(mask)
            _through(activation, below, self._sums[place - 1])
        self._to_inputs(x, self._slopes[0], self._stack.layers[0])
        return means

    def _from_inputs(self, x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> None:
        """The affine map of the inputs. A fold's members share its batch without a copy."""
        if self._alone:
            _affine(bias, x, weight, out)
            return
        for fold, first, end in self._spans:
            shared = x[fold].expand(end - first, -1, -1)
            _affine(bias[first:end], shared, weight[first:end], out[first:end])

    def _to_inputs(self, x: Tensor, slopes: Tensor, layer: Linear) -> None:
        """Gradients of an affine map of the inputs."""
        if self._alone:
            _fill_gradients(x, slopes, layer)
            return
        if layer.weight.grad is None or layer.bias.grad is None:  # frozen
            return
        for fold, first, end in self._spans:
            shared = x[fold].expand(end - first, -1, -1)
            _product(shared, slopes[first:end], layer.weight.grad[first:end])
        torch.sum(slopes, 1, keepdim=True, out=layer.bias.grad)


def _fill_gradients(inputs: Tensor, slopes: Tensor, layer: Linear) -> None:
    """Gradients of an affine map from its inputs (K, B, in) and ∂ loss / ∂ outputs (K, B, out); of
    a frozen one none."""
    if layer.weight.grad is None or layer.bias.grad is None:
        return
    _product(inputs, slopes, layer.weight.grad)
    torch.sum(slopes, 1, keepdim=True, out=layer.bias.grad)


# A batched product with a column is several times slower than the transposed product (0.11 against
# 0.025 ms and 0.10 against 0.010 ms for five members of 64 × 318).


def _affine(bias: Tensor, inputs: Tensor, weight: Tensor, out: Tensor) -> None:
    """out (K, B, out) = inputs (K, B, in) · weight (K, in, out) + bias."""
    if weight.shape[2] == 1:
        lying = out.transpose(1, 2)
        torch.baddbmm(bias, weight.transpose(1, 2), inputs.transpose(1, 2), out=lying)
    else:
        torch.baddbmm(bias, inputs, weight, out=out)


def _product(inputs: Tensor, slopes: Tensor, out: Tensor) -> None:
    """out (K, in, out) = inputs (K, B, in) transposed · slopes (K, B, out)."""
    if slopes.shape[2] == 1:
        torch.bmm(slopes.transpose(1, 2), inputs, out=out.transpose(1, 2))
    else:
        torch.bmm(inputs.transpose(1, 2), slopes, out=out)


def _through(activation: Activation, slopes: Tensor, sums: Tensor) -> None:
    """Turn ∂ loss / ∂ activation(sums) into ∂ loss / ∂ sums, with torch's derivatives."""
    match activation:
        case "relu":
            aten.threshold_backward(slopes, sums, 0, grad_input=slopes)
        case "leaky_relu":
            aten.leaky_relu_backward(slopes, sums, 0.01, False, grad_input=slopes)
        case "gelu":
            aten.gelu_backward(slopes, sums, grad_input=slopes)
        case "silu":
            aten.silu_backward(slopes, sums, grad_input=slopes)
        case "mish":
            slopes.copy_(aten.mish_backward(slopes, sums))
        case "selu":
            # Klambauer et al. 2017, arXiv 1706.02515.
            alpha, scale = 1.6732632423543772, 1.0507009873554805
            aten.elu_backward(slopes, alpha, scale, 1.0, False, sums, grad_input=slopes)
        case "tanh":
            aten.tanh_backward(slopes, torch.tanh(sums), grad_input=slopes)
        case "sigmoid":
            aten.sigmoid_backward(slopes, torch.sigmoid(sums), grad_input=slopes)
        case "scaled_sigmoid":
            aten.sigmoid_backward(slopes, torch.sigmoid(sums), grad_input=slopes).mul_(4)
        case "identity":
            pass
