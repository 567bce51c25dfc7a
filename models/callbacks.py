"""What a run calls in the process around it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from pydantic import TypeAdapter, ValidationError

from models.epochs import FoldEpoch
from models.members import Member
from models.spec import TrainingSpec
from models.training.progress import MemberEpoch, Monitor

StopReason = Literal["cancel", "release", "keep_best"]
EPOCHS: TypeAdapter[dict[int, list[FoldEpoch]]] = TypeAdapter(dict[int, list[FoldEpoch]])
# Seconds between reports without metrics.
REPORT_INTERVAL = 1.0


@dataclass(frozen=True)
class Progress:
    """A run's progress. `eta_s` is in seconds, None until one epoch was timed."""

    fraction: float
    epoch: int
    max_epochs: int
    folds_total: int
    folds_active: int
    eta_s: float | None


class Callbacks(Protocol):
    """What a run calls in the process around it, to report and to store checkpoints."""

    def report(self, progress: Progress, rows: list[FoldEpoch]) -> None:
        """Called once an epoch, and with no rows between the stages."""

    def stop_requested(self) -> StopReason | None:
        """Asked every few batches."""

    def save_checkpoint(self, data: bytes) -> None:
        """Keep this and the previous checkpoint."""

    def checkpoints(self) -> Iterator[bytes]:
        """Whole checkpoints of earlier attempts, newest first."""


class CallbackMonitor(Monitor):
    """Passes the training loop's reports and questions on to the callbacks, and keeps the epochs,
    without their layers, which are large. They travel in the checkpoints, so that the epochs of all
    attempts are known at the end."""

    def __init__(self, callbacks: Callbacks, spec: TrainingSpec) -> None:
        self._callbacks = callbacks
        self._spec = spec
        self._epochs: dict[int, list[FoldEpoch]] = {}
        trials = spec.trials()
        # The first that trains in epochs, if any does.
        self._shown = min(
            range(len(trials)), key=lambda trial: trials[trial].architecture.is_fitted
        )
        self._fraction = 0.0
        self._epoch = 0
        self._folds_active = spec.k_folds
        self._began = self._reported_at = time.monotonic()
        self._first: tuple[float, float] | None = (
            None  # time and fraction, which is above 0 if the run resumed
        )

    def progressed(self, fraction: float, epoch: int) -> None:
        self._fraction, self._epoch = fraction, epoch
        now = time.monotonic()
        if self._first is None:
            is_fresh = fraction * self._spec.max_epochs <= 1
            self._first = (self._began, 0.0) if is_fresh else (now, fraction)
        if now - self._reported_at > REPORT_INTERVAL:
            self._report([])

    def epoch_ended(self, metrics: list[MemberEpoch], active: Sequence[Member]) -> None:
        """Of a blend, only the epochs of one member are reported."""
        self._folds_active = len({member.fold for member in active})
        by_epoch: dict[tuple[int, int], list[MemberEpoch]] = {}
        for row in metrics:
            if row.member.trial != self._shown:
                continue
            by_epoch.setdefault((row.member.fold, row.epoch), []).append(row)
        means = [FoldEpoch.mean(rows) for rows in by_epoch.values()]
        self._keep(self._shown, means)
        self._report(means)

    def epochs(self, trial: int | None = None) -> list[FoldEpoch]:
        """Of a trial, by default of the one that is reported, each once. Those that ended after the
        last checkpoint of their lane are trained again, to the same numbers."""
        kept = self._epochs.get(self._shown if trial is None else trial, [])
        return list({(row.fold, row.epoch): row for row in kept}.values())

    def _keep(self, trial: int, epochs: list[FoldEpoch]) -> None:
        kept = self._epochs.setdefault(trial, [])
        kept += [replace(row, layers=None) for row in epochs]

    def _report(self, rows: list[FoldEpoch]) -> None:
        self._reported_at = time.monotonic()
        self._callbacks.report(
            Progress(
                fraction=self._fraction,
                epoch=self._epoch,
                max_epochs=self._spec.max_epochs,
                folds_total=self._spec.k_folds,
                folds_active=self._folds_active,
                eta_s=self._eta(),
            ),
            rows,
        )

    def _eta(self) -> float | None:
        """Seconds left if no member stops early."""
        assert self._first is not None
        since, done = self._first
        if self._fraction == 1:
            return 0.0
        if self._fraction <= done:
            return None
        pace = (self._reported_at - since) / (self._fraction - done)
        return round(pace * (1 - self._fraction), 1)

    def should_stop(self) -> bool:
        return self._callbacks.stop_requested() is not None

    def keeps_best(self) -> bool:
        return self._callbacks.stop_requested() == "keep_best"

    def checkpoint(self, make: Callable[[], bytes]) -> None:
        self._callbacks.save_checkpoint(EPOCHS.dump_json(self._epochs) + b"\n" + make())

    def checkpoints(self) -> Iterator[bytes]:
        """Those of earlier attempts, newest first. The epochs are those of the last one taken, and
        none if none of them was."""
        for checkpoint in self._callbacks.checkpoints():
            epochs, _, data = checkpoint.partition(b"\n")
            try:
                self._epochs = EPOCHS.validate_json(epochs)
            except ValidationError:  # an earlier version kept none
                self._epochs, data = {}, checkpoint
            yield data
        self._epochs = {}
