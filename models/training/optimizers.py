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
    """Parameters of some members and all that belongs to them, as the kernels want it."""

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
        # Places of the parameters that are treated alike: decayed or not, by rate.
        self._kinds: dict[tuple[bool, float], list[int]] = defaultdict(list)
        for place, name in enumerate(self._names):
            kind = (name.endswith("weight"), network.rate_factor(name))
            self._kinds[kind].append(place)
        values = [parameter.detach() for parameter in network.parameters()]
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self._all = _Tensors(
            values,
            [parameter.grad for parameter in network.parameters() if parameter.grad is not None],
            [torch.zeros_like(value) for value in values],
            [torch.zeros_like(value) for value in values],
        )
        self._views: dict[tuple[int, ...], _Tensors] = {}

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
            tensors = self._of(tuple(members))
            for (decayed, factor), places in self._kinds.items():
                self._move(tensors, places, rate * factor, decay if decayed else 0.0, count)

    def state(self) -> tuple[dict[str, Tensor], list[int]]:
        """What the optimiser remembers: `{parameter}/{slot}` to (K, …), and steps by member."""
        slots = zip(SLOTS, (self._all.first, self._all.second), strict=True)
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
        squares = [gradient.flatten(1).square().sum(1) for gradient in self._all.gradients]
        norms = torch.stack(squares).sum(0).sqrt()  # (K,)
        largest = [float("inf") if bound is None else bound for bound in bounds]
        factor = (norms.new_tensor(largest) / (norms + 1e-6)).clamp(max=1)
        for gradient in self._all.gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))

    def _of(self, members: tuple[int, ...]) -> _Tensors:
        """Tensors of these members: the stacked ones if it is all of them, else views."""
        if len(members) == len(self._specs):
            return self._all
        if members not in self._views:
            self._views[members] = _Tensors(
                *(
                    [tensor[member] for tensor in tensors for member in members]
                    for tensors in vars(self._all).values()
                )
            )
        return self._views[members]

    def _move(
        self, tensors: _Tensors, places: list[int], rate: float, decay: float, count: int
    ) -> None:
        """One step of the parameters at these places."""
        each = len(tensors.values) // len(self._names)

        def chosen(column: list[Tensor]) -> list[Tensor]:
            return [column[place * each + member] for place in places for member in range(each)]

        values, gradients, first = map(chosen, (tensors.values, tensors.gradients, tensors.first))
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
        steps = torch.tensor(float(count), device=values[0].device)
        torch._fused_adamw_(
            values,
            gradients,
            first,
            chosen(tensors.second),
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
