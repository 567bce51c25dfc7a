"""Optimisers over a population, on torch's fused kernels.

torch.optim spends more time on its bookkeeping than a small network's step takes, and knows one
learning rate a parameter; here the K members of a [K, …] parameter each have their own
hyperparameters and step counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.networks.population import Network
from models.spec import TrainingSpec

# Kingma and Ba 2015, arXiv 1412.6980.
BETAS = (0.9, 0.999)
EPSILON = 1e-8
SLOTS = ("first", "second")  # moments; SGD uses the first as its momentum


@dataclass(frozen=True)
class _Tensors:
    """Parameters of some members that are treated alike, as the kernels want them."""

    decayed: bool
    rate_factor: float
    values: list[Tensor]
    gradients: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]


class PopulationOptimizer:
    """Moves each member by its own spec.

    A member without rows in a batch is left alone: a zero gradient would still move it by its
    momentum. Weight decay is decoupled (Loshchilov and Hutter 2019, arXiv 1711.05101) and spares
    biases.
    """

    def __init__(self, network: Network, specs: Sequence[TrainingSpec]) -> None:
        self._specs = list(specs)
        self._steps = [0] * len(specs)
        self._names = [name for name, _ in network.named_parameters()]
        self._values = [parameter.detach() for parameter in network.parameters()]
        self._gradients = [torch.zeros_like(value) for value in self._values]
        for parameter, gradient in zip(network.parameters(), self._gradients, strict=True):
            parameter.grad = gradient
        self._first = [torch.zeros_like(value) for value in self._values]
        self._second = [torch.zeros_like(value) for value in self._values]
        # Places of the parameters that are treated alike: decayed or not, by rate.
        self._kinds: dict[tuple[bool, float], list[int]] = defaultdict(list)
        for place, name in enumerate(self._names):
            kind = (name.endswith("weight"), network.rate_factor(name))
            self._kinds[kind].append(place)
        self._views: dict[tuple[int, ...], list[_Tensors]] = {}

    def step(self, learning_rates: Sequence[float], idle: Sequence[int] = ()) -> None:
        """Move every member but the idle ones, which have no rows in this batch."""
        self._clip()
        alike: dict[tuple[float, float, int], list[int]] = defaultdict(list)
        for member, spec in enumerate(self._specs):
            if member not in idle:
                self._steps[member] += 1
                hyperparameters = (learning_rates[member], spec.weight_decay, self._steps[member])
                alike[hyperparameters].append(member)
        for (rate, decay, count), members in alike.items():
            steps = torch.tensor(float(count), device=self._values[0].device)
            for tensors in self._of(tuple(members)):
                own_decay = decay if tensors.decayed else 0.0
                self._move(tensors, rate * tensors.rate_factor, own_decay, steps)

    def gradient_norms(self) -> Tensor:
        """(K,) L2 norm of each member's gradient."""
        squares = [gradient.flatten(1).square().sum(1) for gradient in self._gradients]
        return torch.stack(squares).sum(0).sqrt()

    def state(self) -> tuple[dict[str, Tensor], list[int]]:
        """What the optimiser remembers: `{parameter}/{slot}` to (K, …), and steps by member."""
        slots = zip(SLOTS, (self._first, self._second), strict=True)
        stacked = {
            f"{name}/{slot}": value
            for slot, values in slots
            for name, value in zip(self._names, values, strict=True)
        }
        return stacked, self._steps

    def load(self, stacked: dict[str, Tensor], steps: Sequence[int]) -> None:
        """The inverse of `state`."""
        own, _ = self.state()
        for key, value in own.items():
            value.copy_(stacked[key])
        self._steps = list(steps)

    def _clip(self) -> None:
        """Shorten the gradients of members whose L2 norm exceeds their own bound."""
        bounds = [spec.optimizer.gradient_clip for spec in self._specs]
        if all(bound is None for bound in bounds):
            return
        norms = self.gradient_norms()
        largest = [float("inf") if bound is None else bound for bound in bounds]
        factor = (norms.new_tensor(largest) / (norms + 1e-6)).clamp(max=1)
        for gradient in self._gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))

    def _of(self, members: tuple[int, ...]) -> list[_Tensors]:
        """Tensors of these members: the stacked ones if it is all of them, else views."""
        if members not in self._views:
            everyone = len(members) == len(self._specs)

            def chosen(stacked: list[Tensor], places: list[int]) -> list[Tensor]:
                if everyone:
                    return [stacked[place] for place in places]
                return [stacked[place][member] for place in places for member in members]

            columns = (self._values, self._gradients, self._first, self._second)
            self._views[members] = [
                _Tensors(decayed, factor, *(chosen(column, places) for column in columns))
                for (decayed, factor), places in self._kinds.items()
            ]
        return self._views[members]

    def _move(self, tensors: _Tensors, rate: float, decay: float, steps: Tensor) -> None:
        """One step of these parameters."""
        values, gradients, first = tensors.values, tensors.gradients, tensors.first
        momentum = self._specs[0].optimizer.momentum
        if self._specs[0].optimizer.name == "sgd":
            if decay:
                torch._foreach_mul_(values, 1 - rate * decay)
            torch._fused_sgd_(
                values,
                gradients,
                first if momentum else [],
                weight_decay=0.0,
                momentum=momentum,
                lr=rate,
                dampening=0.0,
                nesterov=False,
                maximize=False,
                is_first_step=False,
            )
            return
        torch._fused_adamw_(
            values,
            gradients,
            first,
            tensors.second,
            [],
            [steps] * len(values),
            lr=rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )
