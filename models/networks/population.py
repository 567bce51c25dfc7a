"""Layers of K networks of one shape, computed at once.

Every parameter and every persistent buffer has the member axis first, [K, …]: member k owns
`tensor[k]`, and `take` selects members.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.members import Member
from models.spec.architectures import Activation

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Noise(Protocol):
    """What a forward pass needs in training: dropout masks, and which rows are not padding.

    present : (K, B, 1), 1 for a row, 0 for padding
    """

    present: Tensor

    def keep(self, rows: int, units: int) -> Tensor | None:
        """(K, rows, units): 1 / (1 − p) with probability 1 − p, else 0; None if every p is 0."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a network's ends: `inputs` columns, the first `numeric` of them scaled numbers, and
    `outputs` values per row (1 for a number).

    columns : (inputs,) the column of the table that each input comes from, numeric ones first
    rows : the most training rows of a fold
    """

    numeric: int
    inputs: int
    outputs: int
    columns: tuple[int, ...] = ()
    rows: int = 0


class Linear(nn.Module):
    """K affine maps, one batched matrix product.

    Input: (K, B, in). Output: (K, B, out).
    """

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


@dataclass(frozen=True)
class DenseStack:
    """A network of affine maps with only activation and dropout between them.

    `shortcut` maps the inputs to the output in parallel.
    """

    layers: list[Linear]
    activation: Activation
    shortcut: Linear | None = None


class Network(nn.Module):
    """An architecture: maps the inputs of K members to their raw outputs.

    Subclasses take (members, shape, spec) and leave the weights to `initialization.initialize`.
    """

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """(K, B, inputs) to (K, B, E, outputs), raw; `noise` is given while training.

        E is 1, or the size of an ensemble inside the network. Its predictions are averaged, but
        each has its own loss.
        """
        raise NotImplementedError

    def predict(self, x: Tensor) -> Tensor:
        """(K, B, inputs) to (K, B, outputs), dropout off."""
        outputs: Tensor = self(x)
        # A mean over one takes a twentieth of a small network's time in ONNX.
        return outputs.squeeze(2) if outputs.shape[2] == 1 else outputs.mean(2)

    def dense_stack(self) -> DenseStack | None:
        """The network as a stack of affine maps, which trains faster; None if it is not one."""
        return None

    def rate_factor(self, parameter: str) -> float:  # noqa: ARG002
        """The learning rate of a named parameter, as a factor of the spec's."""
        return 1.0

    def input_axes(self) -> dict[str, int]:
        """Parameters with an entry for each embedded input, and the axis, counted without the
        members', along which they have it. Needed to start from an earlier model, as are the
        layers in `models.planning.layers`."""
        raise NotImplementedError

    def input_factor(self, before: int, now: int) -> float:  # noqa: ARG002
        """What the first layer's weights must be multiplied by to mean the same with another number
        of inputs."""
        return 1.0

    def output_layers(self) -> list[Linear]:
        """The affine maps that compute the outputs; their biases start at zero."""
        raise NotImplementedError

    def line(self, member: Member) -> Linear | None:  # noqa: ARG002
        """The affine map of the inputs that starts from the best line; None: none does."""
        return None

    def linear_layers(self) -> list[Linear]:
        """Every affine map."""
        return [module for module in self.modules() if isinstance(module, Linear)]


class Activate(nn.Module):
    """An activation function as a module, so that hooks can see every hidden unit.

    Input and output: (…, units).
    """

    def __init__(self, name: Activation) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return activate(self.name, x)


def drop(x: Tensor, noise: Noise | None) -> Tensor:
    """Dropout of a hidden layer (K, B, units), if there is noise."""
    mask = None if noise is None else noise.keep(x.shape[1], x.shape[2])
    return x if mask is None else x * mask


def activate(name: Activation, x: Tensor) -> Tensor:
    """The activation function called `name`."""
    match name:
        case "relu":
            return functional.relu(x)
        case "leaky_relu":
            return functional.leaky_relu(x)
        case "gelu":
            return functional.gelu(x)
        case "silu":
            return functional.silu(x)
        case "mish":
            return functional.mish(x)
        case "selu":
            return functional.selu(x)
        case "tanh":
            return torch.tanh(x)
        case "sigmoid":
            return torch.sigmoid(x)
        case "scaled_sigmoid":
            # Centred with unit slope at zero, so that depth does not saturate it.
            return 4 * torch.sigmoid(x) - 2
        case "identity":
            return x


def take(module: AnyModule, members: Tensor) -> AnyModule:
    """A copy of a population with only some members, given by a vector of indices."""
    smaller = copy.deepcopy(module)
    for owner in smaller.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            kept = parameter.detach().index_select(0, members)
            setattr(owner, name, nn.Parameter(kept))
        for name, buffer in owner.named_buffers(recurse=False):
            if name not in owner._non_persistent_buffers_set:
                setattr(owner, name, buffer.index_select(0, members))
    return smaller
