"""Finds numerical trouble: the layer in which it began, and idle hidden units."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.networks.population import Activate, Network
from models.spec.architectures import Activation

# Bounds of bounded activations.
BOUNDS: dict[Activation, tuple[float, float]] = {
    "tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "scaled_sigmoid": (-2.0, 2.0),
}
# An activation is saturated if it is closer to a bound than this share of its range.
SATURATED = 0.01
# Activations whose units can die: zero for every row, and so forever without a gradient.
DYING: frozenset[Activation] = frozenset({"relu"})


@dataclass(frozen=True)
class HiddenUnits:
    """Shares over all hidden layers of K members, each (K,); None if no activation can have them.

    dead : hidden units that are zero for every row
    saturated : activations, by unit and row
    """

    dead: Tensor | None
    saturated: Tensor | None


@torch.no_grad()
def hidden_units(network: Network, x: Tensor) -> HiddenUnits:
    """Examine the hidden units while the network is applied to x (K, rows, inputs)."""
    units: list[int] = []  # by layer
    dead: list[Tensor] = []  # (K,) units of a layer
    saturated: list[Tensor] = []  # (K,) units of a layer, the mean over the rows

    def note(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, Activate)
        output = output.flatten(1, -2)  # (K, rows, units)
        units.append(output.shape[2])
        if module.name in DYING:
            dead.append((output.amax(1) <= 0).float().sum(1))
        elif module.name in BOUNDS:
            low, high = BOUNDS[module.name]
            margin = SATURATED * (high - low)
            near = (output < low + margin) | (output > high - margin)
            saturated.append(near.float().mean(1).sum(1))

    modules = [module for module in network.modules() if isinstance(module, Activate)]
    if all(module.name not in DYING and module.name not in BOUNDS for module in modules):
        return HiddenUnits(None, None)
    hooks = [module.register_forward_hook(note) for module in modules]
    try:
        network(x)
    finally:
        for hook in hooks:
            hook.remove()
    total = sum(units)
    return HiddenUnits(
        torch.stack(dead).sum(0) / total if dead else None,
        torch.stack(saturated).sum(0) / total if saturated else None,
    )


@torch.no_grad()
def first_non_finite(network: Network, member: int, x: Tensor) -> str:
    """Where a member's numbers stop being finite: the name of a parameter or a module, or "the
    loss".

    Parameters come first. An overflowing gradient spreads from the output to the inputs, so it
    began in the one nearest to the output. If all parameters are finite, it is the first module
    whose output is not, on the member's batch x (K, B, inputs).
    """
    # Order of the modules by their outputs, after the network's own parameters.
    order = {"": 0}
    overflowed: list[str] = []
    hooks = []
    for name, module in network.named_modules():

        def note(
            _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor, name: str = name
        ) -> None:
            order.setdefault(name, len(order))
            if not bool(torch.isfinite(output[member]).all()):
                overflowed.append(name or "the network")

        hooks.append(module.register_forward_hook(note))
    try:
        network(x)
    finally:
        for hook in hooks:
            hook.remove()
    broken = [
        name
        for name, parameter in network.named_parameters()
        if not bool(torch.isfinite(parameter[member]).all())
    ]
    if broken:
        nearest = max(broken, key=lambda name: order.get(name.rpartition(".")[0], 0))
        return f"the weights {nearest}"
    return f"the outputs of {overflowed[0]}" if overflowed else "the loss"
