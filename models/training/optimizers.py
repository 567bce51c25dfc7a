"""torch's optimisers over a population."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.networks.population import Network
from models.spec import TrainingSpec


class PopulationOptimizer:
    """A fused optimiser in which each member's tensors are parameters of their own.

    They are views of the population's [K, …] parameters and gradients, so a member has its own
    step count and is left alone in a step in which it has no rows: a zero gradient would still
    move it by Adam's momentum. Weight decay is decoupled (arXiv 1711.05101) and spares biases.
    """

    def __init__(self, network: Network, spec: TrainingSpec) -> None:
        settings = spec.optimizer
        self._clip = settings.gradient_clip
        self._names = [name for name, _ in network.named_parameters()]
        self._gradients: list[Tensor] = []
        self._members: list[list[nn.Parameter]] = []
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
            self._gradients.append(parameter.grad)
        members = next(network.parameters()).shape[0]
        for member in range(members):
            self._members.append([nn.Parameter(p.detach()[member]) for p in network.parameters()])
        self._attach()
        decayed = [name.endswith("weight") for name in self._names]
        weights = [v for views in self._members for v, d in zip(views, decayed, strict=True) if d]
        biases = [
            v for views in self._members for v, d in zip(views, decayed, strict=True) if not d
        ]
        groups = [
            {"params": weights, "weight_decay": spec.weight_decay},
            {"params": biases, "weight_decay": 0.0},
        ]
        # torch's SGD couples its decay with the gradient, so `step` shrinks the weights itself.
        self._shrink = 1.0
        self._weights = weights
        if settings.name == "sgd":
            self._shrink = 1 - settings.learning_rate * spec.weight_decay
            for group in groups:
                group["weight_decay"] = 0.0
            self._optimizer: torch.optim.Optimizer = torch.optim.SGD(
                groups, lr=settings.learning_rate, momentum=settings.momentum, fused=True
            )
        else:
            self._optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)

    def zero_grad(self) -> None:
        torch._foreach_zero_(self._gradients)

    def step(self, idle: Sequence[int] = ()) -> None:
        """Move every member but the idle ones, which have no rows in this batch."""
        for member in idle:
            for view in self._members[member]:
                view.grad = None
        if self._clip is not None:
            for views in self._members:
                nn.utils.clip_grad_norm_(views, self._clip)
        if self._shrink != 1.0:
            moving = [weight.detach() for weight in self._weights if weight.grad is not None]
            torch._foreach_mul_(moving, self._shrink)
        self._optimizer.step()
        if idle:
            self._attach()

    def state(self) -> dict[str, Tensor]:
        """What the optimiser remembers, stacked by member: `{parameter}/{slot}` to (K, …)."""
        stacked = {}
        for place, name in enumerate(self._names):
            states = [self._optimizer.state[views[place]] for views in self._members]
            for slot in states[0]:
                stacked[f"{name}/{slot}"] = torch.stack([state[slot] for state in states])
        return stacked

    def load(self, stacked: dict[str, Tensor]) -> None:
        """The inverse of `state`."""
        for key, values in stacked.items():
            name, slot = key.rsplit("/", 1)
            place = self._names.index(name)
            for views, value in zip(self._members, values, strict=True):
                self._optimizer.state[views[place]][slot] = value.clone()

    def _attach(self) -> None:
        for member, views in enumerate(self._members):
            for view, gradient in zip(views, self._gradients, strict=True):
                view.grad = gradient[member]
