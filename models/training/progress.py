"""Reports and questions of a running training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from models.epochs import FoldEpoch, LayerEpoch
from models.members import Member


@dataclass(frozen=True)
class Trouble:
    """The place where a member's numbers stopped being finite.

    `step` counts the member's batches from 1 over the whole run. `layer` is the name of the
    weights or the module in the network, or "the loss" if every layer is still finite.
    """

    epoch: int
    step: int
    layer: str

    def __str__(self) -> str:
        return f"step {self.step} (epoch {self.epoch}) in {self.layer}"


@dataclass(frozen=True, kw_only=True)
class MemberEpoch(FoldEpoch):
    """One member of a fold after one epoch; losses and the norm may be NaN or infinite.

    watched_loss : None if early stopping watches no rows
    updates : batches that moved a perceptron; None for other architectures
    """

    member: Member
    train_loss: float
    watched_loss: float | None
    validation_loss: float
    gradient_norm: float
    updates: int | None = None


@dataclass
class Course:
    """The training of one member. `best_epoch` is 0 until an epoch ends with finite numbers."""

    epochs: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    earlier_best: float = math.inf  # of the first four fifths of the epochs
    stopped_by: str = "max_epochs"  # or early_stopping, no_mistakes, non_finite, keep_best, halving
    first_loss: float = math.nan
    last_loss: float = math.nan
    largest_gradient: float = 0.0  # largest examined norm
    dead_units: float | None = None  # after the last epoch, as in the next field
    saturated_units: float | None = None
    layers: list[LayerEpoch] | None = None  # after the first epoch
    next_layers: list[LayerEpoch] | None = None  # after the second
    last_layers: list[LayerEpoch] | None = None
    updates: int | None = None  # in all epochs
    trouble: Trouble | None = None

    def note(self, metrics: MemberEpoch) -> None:
        """Add an epoch that ended with finite numbers."""
        if math.isnan(self.first_loss):
            self.first_loss = metrics.train_loss
        self.last_loss = metrics.train_loss
        if metrics.updates is not None:
            self.updates = (self.updates or 0) + metrics.updates
        self.largest_gradient = max(self.largest_gradient, metrics.gradient_norm)
        self.dead_units = metrics.dead_units
        self.saturated_units = metrics.saturated_units
        if self.epochs <= 1:
            self.layers = metrics.layers
        if self.epochs <= 2:
            self.next_layers = metrics.layers
        self.last_layers = metrics.layers

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Course:
        """The inverse of `dataclasses.asdict`."""
        trouble = saved["trouble"]
        return cls(**{**saved, "trouble": trouble and Trouble(**trouble)})


class Monitor:
    """Receives a run's reports and questions between blocks; the default does nothing."""

    def epoch_ended(self, metrics: list[MemberEpoch], active: Sequence[Member]) -> None:
        """Called with the members that have ended an epoch, and with those that continue."""

    def progressed(self, fraction: float, epoch: int) -> None:
        """Called before `epoch_ended`, and for members whose fold waits for others, with the
        finished share of all epochs of all members, and the epoch of the slowest."""

    def should_stop(self) -> bool:
        """Called between blocks; True ends the run with `Interrupted`."""
        return False

    def keeps_best(self) -> bool:
        """Whether a run that must stop ends normally, with the best weights so far."""
        return False

    def checkpoint(self, make: Callable[[], bytes]) -> None:
        """Called between blocks every few seconds, and before `Interrupted`."""


class Interrupted(Exception):
    """The monitor asked the run to stop; a checkpoint was offered first."""
