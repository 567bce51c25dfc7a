"""Finds the layer in which numerical trouble began."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.population import Network


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
