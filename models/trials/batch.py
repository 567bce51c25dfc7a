"""Trains a batch of trials on the same folds as one population.

A trial that fails is a row that says why; the others go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.artifacts import trial_file
from models.callbacks import CallbackMonitor, Progress
from models.epochs import FoldEpoch
from models.evaluation.scores import OutOfFold, score
from models.experiment import Clock, Context, Laid, Stopped, lay
from models.export.served import ServedModel, outputs_of_parts
from models.members import Member
from models.objectives.trained import learning_of
from models.spec import TrainingSpec
from models.spec.sweep import Halving
from models.training.progress import Course, Interrupted, MemberEpoch
from models.training.runs import train_many
from models.trials.saved import OutOfFoldRows, packed
from models.trials.timing import row_seconds


@dataclass(frozen=True)
class Trial:
    """One spec of a sweep, resolved; its number counts the sweep's trials from 0."""

    number: int
    spec: TrainingSpec


@dataclass(frozen=True)
class BatchOutcome:
    """rows: what is known of each trial; seconds: of each stage; artifacts: file name to path, one
    for each trial that succeeded."""

    rows: list[dict[str, Any]]
    seconds: dict[str, float]
    artifacts: dict[str, Path]


def train_batch(
    context: Context,
    family: TrainingSpec,
    trials: Sequence[Trial],
    halving: Halving | None = None,
) -> BatchOutcome:
    """Train trials on the folds of `family`, the resolved spec that a sweep's trials share.

    Raises
    ------
    Stopped: the callbacks asked for it.
    TrainingFailed: the table is damaged, or its rows cannot be split into folds.
    """
    clock, callbacks = Clock(), context.callbacks
    if not trials:  # none of those drawn fits the workers
        return BatchOutcome([], clock.seconds(), {})
    longest = max(trial.spec.max_epochs for trial in trials)
    callbacks.report(Progress(0.0, 0, longest, family.k_folds, family.k_folds, None), [])
    laid = lay(context, family)
    clock.lap("prepare")
    monitor = _TrialsMonitor(callbacks, family.model_copy(update={"max_epochs": longest}))
    try:
        populations = train_many(
            [trial.spec for trial in trials],
            laid.design,
            laid.folds,
            device=torch.device(context.device),
            monitor=monitor,
            cores=torch.get_num_threads(),
            checkpoints=monitor.checkpoints(),
            halving=halving,
        )
    except Interrupted as interruption:
        raise Stopped(callbacks.stop_requested() or "release") from interruption
    context.stop_if_requested()
    clock.lap("train")
    rows: list[dict[str, Any]] = []
    files: dict[str, Path] = {}
    for place, (trial, population) in enumerate(zip(trials, populations, strict=True)):
        missing = [course for course in population.courses if course.best_epoch == 0]
        if missing:
            rows.append({"number": trial.number, **_failure(missing)})
            continue
        served = ServedModel.of(population, latest_alone=family.folds.type == "time")
        raw = _raw(served, laid)
        found = score(served, trial.spec, laid.design, laid.folds, [population])
        rows.append(
            {
                "number": trial.number,
                "state": "succeeded",
                "error": None,
                "metrics": found.assessment.metrics,
                "metrics_error": found.assessment.metrics_error,
                "folds": found.folds,
                "bytes": served.bytes,
                "row_seconds": row_seconds(served, laid.design),
            }
        )
        kept = _kept(raw, found.out_of_fold, served, trial.spec)
        path = context.workdir / trial_file(trial.number)
        path.write_bytes(packed(population, kept, monitor.epochs(place)))
        files[path.name] = path
        context.stop_if_requested()
    clock.lap("evaluate")
    return BatchOutcome(rows, clock.seconds(), files)


class _TrialsMonitor(CallbackMonitor):
    """Reports how far a batch is, and keeps the epochs of each trial, by its place in the batch."""

    def epoch_ended(self, metrics: list[MemberEpoch], active: Sequence[Member]) -> None:
        self._folds_active = len({member.fold for member in active})
        together: dict[tuple[int, int, int], list[MemberEpoch]] = {}
        for row in metrics:
            together.setdefault((row.member.trial, row.fold, row.epoch), []).append(row)
        for (trial, _, _), members in together.items():
            self._keep(trial, [FoldEpoch.mean(members)])


def _failure(courses: Sequence[Course]) -> dict[str, Any]:
    """Of a trial some of whose networks have no weights to serve."""
    for course in courses:
        if course.trouble is not None:
            reason = f"its numbers stopped being finite at {course.trouble}"
            return {"state": "failed", "error": reason}
    return {"state": "cancelled", "error": "it was stopped before all folds had trained"}


def _raw(served: ServedModel, laid: Laid) -> NDArray[np.float32]:
    """(n, outputs) of the design's rows: each by the mean of its own fold's networks."""
    design = laid.design
    raw = np.empty(0)
    for place, number in enumerate(served.folds):
        rows = laid.folds[number].validation
        own = served.fold(place)
        found = outputs_of_parts(own, design.numbers[rows], design.codes[rows])[0, 0].numpy()
        if place == 0:
            raw = np.full((len(design), found.shape[1]), np.nan)
        raw[rows] = found
    return raw.astype(np.float32)


def _kept(
    raw: NDArray[np.float32], found: OutOfFold, served: ServedModel, spec: TrainingSpec
) -> OutOfFoldRows:
    prediction: NDArray[np.floating] = found.prediction
    if prediction.ndim > 1:  # probabilities of classes
        prediction = prediction.astype(np.float32)
    predicted = learning_of(spec).decided(served.target, found.prediction, found.fold)
    return OutOfFoldRows(raw, prediction, predicted)
