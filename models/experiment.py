"""One training run from a stored table to the files of a model."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import safetensors.torch
import torch

from models import artifacts
from models.data.design import Design, load_design
from models.data.features import select
from models.data.folds import FoldRows, split_rows
from models.data.preprocessing import trainable_rows
from models.data.thinning import thin
from models.epochs import FoldEpoch
from models.evaluation.blend import blend
from models.evaluation.errors_by_rows import errors_by_rows
from models.evaluation.likeness import likeness_of
from models.evaluation.scores import evaluate
from models.export.graph import ExportMismatch, core_graph, full_graph, verify
from models.members import Member
from models.objectives import objective_of
from models.objectives.trained import learning_of
from models.planning.review import SpecWarning, review
from models.serving.manifest import describe
from models.spec import TrainingSpec
from models.tables.faults import quoted
from models.tables.profile import Profile
from models.tables.stored import TableDamaged
from models.training.engine import TrainedPopulation
from models.training.progress import Course, Interrupted, MemberEpoch, Monitor
from models.training.runs import train_many

StopReason = Literal["cancel", "release", "keep_best"]
# Members whose trouble is reported if all have failed, and classes that a fold lacks.
EXAMPLES = 3
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


class Stopped(Exception):
    """The caller asked the run to stop. With 'release', a checkpoint was saved first.

    With 'keep_best', the run continues with the best weights so far, if there are any.
    """

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason)
        self.reason = reason


class TrainingFailed(Exception):
    """The run cannot produce a model. The message says why and what to change."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run: the job's `result` without its model id, the folds, the files.

    `result`: metrics, metrics_error, baselines, folds, fold_mean, fold_std, holdout, diagnosis,
    warnings, seconds, receipt, and the objective's own, such as intervals.
    `artifacts`: file name to path; the names are in `models.artifacts`.
    """

    result: dict[str, Any]
    artifacts: dict[str, Path]


def run(
    parquet: Path,
    profile: Profile,
    spec: TrainingSpec,
    *,
    dataset_sha256: str,
    parquet_sha256: str,
    workdir: Path,
    device: str,
    callbacks: Callbacks,
) -> Outcome:
    """Train the spec's folds on the table and write the model's files into `workdir`.

    `spec` is resolved. The receipt names the hashes of the table, as uploaded and as stored. The
    number of CPU threads is torch's own, set by the caller.

    Raises
    ------
    Stopped: `callbacks` asked for it.
    TrainingFailed: the table is damaged, no fold has usable weights, or the exported model does
        not reproduce its own out-of-fold predictions.
    """
    clock = _Clock()
    callbacks.report(Progress(0.0, 0, spec.max_epochs, spec.k_folds, spec.k_folds, None), [])
    try:
        warnings = review(spec, profile, parquet)
        design, holdout = load_design(parquet, spec, select(spec, profile))
        assigned = split_rows(spec, design.target, design.fold_column)
    except TableDamaged as damage:
        raise TrainingFailed(
            f"the stored table cannot be read: {damage}; restore its file from a backup"
        ) from damage
    except ValueError as error:
        raise TrainingFailed(
            f"the rows with a target cannot be split into folds: {error}"
        ) from error
    folds = [_trainable(spec, design, fold) for fold in assigned]
    warnings += _unseen_classes(spec, design, folds)
    thinned = thin(spec, design, folds) if spec.learning_curve else []
    clock.lap("prepare")

    trials = spec.trials()
    try:
        populations = train_many(
            trials,
            design,
            folds,
            device=torch.device(device),
            monitor=_CallbackMonitor(callbacks, spec),
            cores=torch.get_num_threads(),
            checkpoints=callbacks.checkpoints(),
            thinned=thinned,
        )
    except Interrupted as interruption:
        raise Stopped(callbacks.stop_requested() or "release") from interruption
    trained, on_fewer = populations[: len(trials)], populations[len(trials) :]
    _refuse_untrained([course for population in trained for course in population.courses])
    _stop_if_requested(callbacks)
    clock.lap("train")

    learning = learning_of(spec)
    served, blended = blend(spec, trained, design, folds)
    scored = [folds[fold].validation for fold in served.folds]
    scores = evaluate(served, spec, design, folds, holdout, trained)
    curve = {}
    if spec.learning_curve:
        layouts = [folds, *thinned]
        found = errors_by_rows(served, scores.out_of_fold, spec, design, layouts, on_fewer)
        curve = {"learning_curve": found}
    _stop_if_requested(callbacks)
    clock.lap("evaluate")

    receipt = _receipt(spec, dataset_sha256, parquet_sha256, device)
    manifest = describe(
        design,
        spec,
        kept=scores.assessment.manifest() | learning.kept(served.target),
        importance=scores.importance,
        likeness=likeness_of(spec, design),
        members=served.members,
        rows=int((scores.fold_of >= 0).sum()),
        receipt=receipt,
        warnings=warnings,
    )
    core = core_graph(served, design, objective_of(spec).output)
    full = full_graph(core, design)
    learning.finish(full, scores.assessment.kept)
    core_bytes, full_bytes = core.SerializeToString(), full.SerializeToString()
    try:
        verify(
            core_bytes,
            full_bytes,
            design,
            served,
            scored,
            scores.out_of_fold,
            lambda found, added: learning.differ(found, added, scores.assessment.kept),
        )
    except ExportMismatch as mismatch:
        raise TrainingFailed(f"the model was not registered: {mismatch}") from mismatch
    files = {
        artifacts.CORE: core_bytes,
        artifacts.ONNX: full_bytes,
        artifacts.MANIFEST: manifest.model_dump_json(indent=1).encode(),
        artifacts.WEIGHTS: safetensors.torch.save(dict(served.state_dict())),
    }
    for name, data in files.items():
        (workdir / name).write_bytes(data)
    scores.write_out_of_fold(workdir / artifacts.OUT_OF_FOLD)
    clock.lap("export")
    result = (
        scores.result()
        | blended
        | _comparables(trained)
        | curve
        | {
            "warnings": [asdict(warning) for warning in warnings],
            "seconds": clock.seconds(),
            "receipt": receipt,
        }
    )
    return Outcome(result, {name: workdir / name for name in (*files, artifacts.OUT_OF_FOLD)})


class _CallbackMonitor(Monitor):
    """Passes the training loop's reports and questions on to the callbacks."""

    def __init__(self, callbacks: Callbacks, spec: TrainingSpec) -> None:
        self._callbacks = callbacks
        self._spec = spec
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
        self._report([FoldEpoch.mean(rows) for rows in by_epoch.values()])

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
        self._callbacks.save_checkpoint(make())


class _Clock:
    """Seconds of each stage."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._began = self._last = time.monotonic()

    def lap(self, stage: str) -> None:
        now = time.monotonic()
        self._seconds[stage] = round(now - self._last, 3)
        self._last = now

    def seconds(self) -> dict[str, float]:
        return self._seconds | {"total": round(self._last - self._began, 3)}


def _comparables(trained: Sequence[TrainedPopulation]) -> dict[str, Any]:
    """The member of the result about inputs from other rows' targets; nothing without."""
    extras = next((own.extras for own in trained if own.extras is not None), None)
    if extras is None:
        return {}
    return {"comparables": {"used": list(extras.used), "explained": extras.explained}}


def _trainable(spec: TrainingSpec, design: Design, fold: FoldRows) -> FoldRows:
    kept = trainable_rows(spec.preprocessing, design, fold)
    if len(kept.train) == 0 or (len(fold.watched) > 0 and len(kept.watched) == 0):
        raise TrainingFailed(
            "no complete rows are left to train on: preprocessing.numeric_missing 'drop_rows' "
            "drops every row with a missing number; use 'mean' or 'median', or exclude the columns "
            "that are mostly missing"
        )
    return kept


def _unseen_classes(
    spec: TrainingSpec, design: Design, folds: Sequence[FoldRows]
) -> list[SpecWarning]:
    """Classes that a fold's model cannot learn, which `group` and `time` folds may cause."""
    unseen: dict[str, list[int]] = {}
    for number, fold in enumerate(folds):
        seen = {*design.target[fold.known].tolist()}
        for place, level in enumerate(design.levels):
            if place not in seen:
                unseen.setdefault(level, []).append(number)
    return [
        SpecWarning(
            "class_unseen",
            f"{_listed(unseen)} in no training row of a fold, whose model never predicts what it "
            "has not seen: use stratified folds, or more rows of the class",
            spec.target,
        )
    ] * bool(unseen)


def _listed(unseen: dict[str, list[int]]) -> str:
    named = [
        f"{quoted(level)} (fold {', '.join(map(str, numbers))})"
        for level, numbers in list(unseen.items())[:EXAMPLES]
    ]
    more = f" and {len(unseen) - EXAMPLES} more" if len(unseen) > EXAMPLES else ""
    return f"{', '.join(named)}{more} {'is' if len(unseen) == 1 else 'are'}"


def _stop_if_requested(callbacks: Callbacks) -> None:
    """Between two stages, stop like the training loop."""
    reason = callbacks.stop_requested()
    if reason in ("cancel", "release"):
        raise Stopped(reason)


def _refuse_untrained(courses: Sequence[Course]) -> None:
    """Require a member with weights from an epoch that ended in finite numbers; one is enough.

    A run that was stopped before that is cancelled.
    """
    if any(course.best_epoch > 0 for course in courses):
        return
    if any(course.stopped_by == "keep_best" for course in courses):
        raise Stopped("cancel")
    began = "; ".join(dict.fromkeys(f"at {course.trouble}" for course in courses[:EXAMPLES]))
    raise TrainingFailed(
        f"no fold learned anything: the numbers of all {len(courses)} members stopped being finite "
        f"before their first epoch ended, {began}. Lower optimizer.learning_rate, set "
        "optimizer.gradient_clip, scale the inputs (preprocessing.numeric_scaling 'robust' or "
        "'quantile'), or choose another architecture.initialization"
    )


def _receipt(
    spec: TrainingSpec, dataset_sha256: str, parquet_sha256: str, device: str
) -> dict[str, Any]:
    """Everything needed to train the same model again."""
    text = json.dumps(spec.model_dump(mode="json"), sort_keys=True)
    return {
        "dataset_sha256": dataset_sha256,
        "parquet_sha256": parquet_sha256,
        "spec_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "seed": spec.seed,
        "versions": {
            "foldhouse": metadata.version("foldhouse"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "device": device,
        "threads": torch.get_num_threads(),
    }
