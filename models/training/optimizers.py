"""Optimisers over a population, on torch's fused kernels.

torch.optim spends more time on bookkeeping than a small network's step takes, and has one learning
rate per parameter. Here the K members of a [K, …] parameter each have their own hyperparameters and
step counts.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.networks.population import Network
from models.planning.layers import is_frozen
from models.spec import TrainingSpec

# Kingma and Ba 2015, arXiv 1412.6980.
BETAS = (0.9, 0.999)
EPSILON = 1e-8
SLOTS = ("first", "second")  # moments; SGD uses the first as its momentum


@dataclass(frozen=True)
class _Tensors:
    """Parameters of some members with the same treatment, in the form that the kernels need.

    rate, count : () the learning rate and the steps taken, views of the optimiser's own
    """

    decay: float
    rate: Tensor
    count: Tensor
    values: list[Tensor]
    gradients: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]


class PopulationOptimizer:
    """Updates each member's weights by its own spec.

    A member without rows in a batch is skipped, because a zero gradient would still move it by its
    momentum. Weight decay is decoupled (Loshchilov and Hutter 2019, arXiv 1711.05101) and skips
    biases. Layers that the specs freeze have no gradients, which the norms therefore leave out.

    moving : the members that the next step moves, in groups whose numbers are the same
    """

    def __init__(self, network: Network, specs: Sequence[TrainingSpec]) -> None:
        self._specs = list(specs)
        self._steps = [0] * len(specs)
        self.moving: tuple[tuple[int, ...], ...] = ()
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not is_frozen(name, specs[0].freeze))
        moving = {name: own for name, own in network.named_parameters() if own.requires_grad}
        self._names = list(moving)
        self._values = [parameter.detach() for parameter in moving.values()]
        self._gradients = [torch.zeros_like(value) for value in self._values]
        for parameter, gradient in zip(moving.values(), self._gradients, strict=True):
            parameter.grad = gradient
        self._first = [torch.zeros_like(value) for value in self._values]
        self._second = [torch.zeros_like(value) for value in self._values]
        # Indices of the parameters with the same treatment: decayed or not, by rate.
        self._kinds: dict[tuple[bool, float], list[int]] = defaultdict(list)
        for place, name in enumerate(self._names):
            kind = (name.endswith("weight"), network.rate_factor(name))
            self._kinds[kind].append(place)
        self._views: dict[tuple[int, ...], list[_Tensors]] = {}
        device = self._values[0].device
        # (kinds, K) learning rates, (K,) steps taken, and (K,) bounds of the gradients' norms.
        # The kernels of other devices take float32.
        precision = torch.float64 if device.type == "cpu" else torch.float32
        host = (
            torch.zeros(len(self._kinds), len(specs), dtype=precision),
            torch.zeros(len(specs)),
        )
        self._rates, self._counts = (numbers.to(device) for numbers in host)
        self._host = [(numbers, numbers.numpy()) for numbers in host]
        bounds = [spec.optimizer.gradient_clip for spec in specs]
        self._largest = None
        if any(bound is not None for bound in bounds):
            largest = [math.inf if bound is None else bound for bound in bounds]
            self._largest = self._values[0].new_tensor(largest)

    def prepare(self, learning_rates: Sequence[float], idle: Sequence[int] = ()) -> None:
        """Prepare a step that moves every member except the idle ones, which have no rows in this
        batch."""
        alike: dict[tuple[float, float, int], list[int]] = defaultdict(list)
        for member, spec in enumerate(self._specs):
            if member not in idle:
                self._steps[member] += 1
                hyperparameters = (learning_rates[member], spec.weight_decay, self._steps[member])
                alike[hyperparameters].append(member)
        self.moving = tuple(tuple(members) for members in alike.values())
        (rates, written_rates), (counts, written_counts) = self._host
        for kind, (_, factor) in enumerate(self._kinds):
            written_rates[kind] = [factor * rate for rate in learning_rates]
        written_counts[:] = self._steps
        if self._rates is not rates:
            # From pinned copies, which are kept until the device has read them: nothing waits.
            self._rates.copy_(rates.pin_memory(), non_blocking=True)
            self._counts.copy_(counts.pin_memory(), non_blocking=True)

    def step(self) -> None:
        """Move the members that `prepare` chose. All changing numbers are on the device."""
        self._clip()
        for members in self.moving:
            for tensors in self._of(members):
                self._move(tensors)

    def gradient_norms(self) -> Tensor:
        """(K,) L2 norm of each member's gradient."""
        squares = [gradient.flatten(1).square().sum(1) for gradient in self._gradients]
        return torch.stack(squares).sum(0).sqrt()

    def state(self) -> tuple[dict[str, Tensor], list[int]]:
        """The optimiser's state: `{parameter}/{slot}` to (K, …), and steps by member."""
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
        """Scale down the gradients of members whose L2 norm exceeds their bound."""
        if self._largest is None:
            return
        factor = (self._largest / (self.gradient_norms() + 1e-6)).clamp(max=1)
        for gradient in self._gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))

    def _of(self, members: tuple[int, ...]) -> list[_Tensors]:
        """Tensors of these members: the stacked ones for all members, otherwise views."""
        if members not in self._views:
            everyone = len(members) == len(self._specs)

            def chosen(stacked: list[Tensor], places: list[int]) -> list[Tensor]:
                if everyone:
                    return [stacked[place] for place in places]
                return [stacked[place][member] for place in places for member in members]

            columns = (self._values, self._gradients, self._first, self._second)
            first = members[0]  # the same for all of them
            self._views[members] = [
                _Tensors(
                    self._specs[first].weight_decay if decayed else 0.0,
                    self._rates[kind, first],
                    self._counts[first],
                    *(chosen(column, places) for column in columns),
                )
                for kind, ((decayed, _), places) in enumerate(self._kinds.items())
            ]
        return self._views[members]

    def _move(self, tensors: _Tensors) -> None:
        """Take one step with these parameters."""
        values, gradients, first = tensors.values, tensors.gradients, tensors.first
        momentum = self._specs[0].optimizer.momentum
        if self._specs[0].optimizer.name == "sgd":
            if tensors.decay:
                torch._foreach_mul_(values, 1 - tensors.rate * tensors.decay)
            torch._fused_sgd_(
                values,
                gradients,
                first if momentum else [],
                weight_decay=0.0,
                momentum=momentum,
                lr=tensors.rate,
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
            [tensors.count] * len(values),
            lr=tensors.rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=tensors.decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )
