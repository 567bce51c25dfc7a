"""What the layers of a population do while it trains: gradients, steps, weights, activations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from models.epochs import LAYER_FIGURES, LayerEpoch
from models.networks.population import Activate, Linear, Network
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
# About as many weights of a layer and member show how far it moves.
PROBE_WEIGHTS = 4_096


@dataclass
class Activations:
    """The hidden activations of one forward pass, each (K,).

    of_layer : by the index of an affine map, the figures of the activation that follows it
    dead, saturated : shares of all hidden units, and of all their activations; None if no
        activation can have them
    """

    of_layer: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    dead: Tensor | None = None
    saturated: Tensor | None = None


class Layers:
    """The affine maps of K networks.

    first : (K, 2, L) of the epoch's first batch: gradient norms, and update ratios
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        named = [
            (name, module) for name, module in network.named_modules() if isinstance(module, Linear)
        ]
        self._names = [name for name, _ in named]
        self._linear = [module for _, module in named]
        self._ends = {id(layer) for layer in network.output_layers()}
        like = next(network.parameters()).detach()
        self.first = like.new_full((len(like), 2, len(named)), math.nan)
        self._before: list[Tensor] = []

    @torch.no_grad()
    def before_step(self) -> None:
        """Look at the gradients of a batch."""
        self._before = [_sample(layer).clone() for layer in self._linear]
        for place, layer in enumerate(self._linear):
            if layer.weight.grad is not None:
                self.first[:, 0, place] = _norms(layer.weight.grad)

    @torch.no_grad()
    def after_step(self) -> None:
        """Look at the step that was taken."""
        for place, (layer, before) in enumerate(zip(self._linear, self._before, strict=True)):
            if layer.weight.grad is None:  # frozen
                continue
            moved = _norms(_sample(layer) - before)
            self.first[:, 1, place] = moved / _norms(before)
        self._before = []

    @contextmanager
    def observe(self, rows: int) -> Iterator[Activations]:
        """Examine the first forward pass while it lasts, in its first rows."""
        seen = Activations()
        units: list[int] = []
        dead: list[Tensor] = []  # (K,) units
        saturated: list[Tensor] = []  # (K,) units, the mean over the rows
        last = [-1]  # affine map
        places = {id(layer): place for place, layer in enumerate(self._linear)}

        def enter(layer: nn.Module, _inputs: tuple[Tensor, ...], _output: Tensor) -> None:
            last[0] = places[id(layer)]

        def note(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            assert isinstance(module, Activate)
            # (K, rows, …, units) to (K, rows, units)
            found = output[:, :rows].flatten(1, -2)
            units.append(found.shape[2])
            every = found.flatten(1)
            mean = every.mean(1)
            deviation = (every - mean.unsqueeze(1)).square().mean(1).sqrt()
            figures = {"activation_mean": mean, "activation_deviation": deviation}
            if module.name in DYING:
                dead.append((found.amax(1) <= 0).float().sum(1))
                figures["dead_units"] = dead[-1] / units[-1]
            elif module.name in BOUNDS:
                low, high = BOUNDS[module.name]
                margin = SATURATED * (high - low)
                near = (found < low + margin) | (found > high - margin)
                saturated.append(near.float().mean(1).sum(1))
                figures["saturated_units"] = saturated[-1] / units[-1]
            seen.of_layer.setdefault(last[0], figures)

        def leave(_network: nn.Module, _inputs: tuple[Tensor, ...], _output: Tensor) -> None:
            for hook in hooks:
                hook.remove()
            hooks.clear()
            total = sum(units)
            seen.dead = torch.stack(dead).sum(0) / total if dead else None
            seen.saturated = torch.stack(saturated).sum(0) / total if saturated else None

        hooks = [layer.register_forward_hook(enter) for layer in self._linear]
        hooks += [
            module.register_forward_hook(note)
            for module in self._network.modules()
            if isinstance(module, Activate)
        ]
        hooks.append(self._network.register_forward_hook(leave))
        try:
            yield seen
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def figures(self, seen: Activations) -> Tensor:
        """(figures, L, K) in the order of `LAYER_FIGURES`, NaN where there is none."""
        members, _, count = self.first.shape
        found = self.first.new_full((len(LAYER_FIGURES), count, members), math.nan)
        number = {name: place for place, name in enumerate(LAYER_FIGURES)}
        for place, name in enumerate(("gradient_norm", "update_ratio")):
            found[number[name]] = self.first[:, place].T
        for place, layer in enumerate(self._linear):
            weights = layer.weight.detach()
            found[number["weight_norm"], place] = _norms(weights)
            if id(layer) not in self._ends and weights.shape[2] > 1:
                some = _sample(layer)
                apart = some - some.mean(2, keepdim=True)
                size = _norms(some)
                # Units without weights are alike.
                share = _norms(apart) / size.where(size > 0, math.inf)
                found[number["unlikeness"], place] = share
            for name, value in seen.of_layer.get(place, {}).items():
                found[number[name], place] = value
        return found

    def of_member(
        self, figures: Sequence[Sequence[Sequence[float]]], member: int
    ) -> list[LayerEpoch]:
        """One member's, from `figures` on the host."""
        return [
            cast(
                LayerEpoch,
                {"name": name}
                | {
                    figure: value if math.isfinite(value := of_layers[place][member]) else None
                    for figure, of_layers in zip(LAYER_FIGURES, figures, strict=True)
                },
            )
            for place, name in enumerate(self._names)
        ]


def _norms(values: Tensor) -> Tensor:
    """(K,) L2 norms. Unlike torch's own norm, a member's doesn't depend on how many there are."""
    return values.flatten(1).square().sum(1).sqrt()


def _sample(layer: Linear) -> Tensor:
    """(K, some inputs, units) of a layer's weights."""
    weight = layer.weight.detach()
    wanted = max(1, PROBE_WEIGHTS // weight.shape[2])
    return weight[:, :: max(1, weight.shape[1] // wanted)]
