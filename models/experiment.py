"""One training run from a stored table to the files of a model."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from models import artifacts
from models.artifacts import EarlierModel
from models.callbacks import CallbackMonitor, Callbacks, Progress, StopReason
from models.data.design import Design, load_design
from models.data.features import select
from models.data.folds import FoldRows, roles_of, split_rows
from models.data.preprocessing import trainable_rows
from models.data.roles import write_roles
from models.data.thinning import thin
from models.epochs import FoldEpoch
from models.evaluation.blend import blend, served_members
from models.evaluation.errors_by_rows import errors_by_rows
from models.evaluation.likeness import likeness_of
from models.evaluation.scores import evaluate
from models.export.graph import ExportMismatch, core_graph, full_graph, verify
from models.export.served import ServedModel
from models.export.weights import weights_file
from models.objectives import objective_of
from models.objectives.trained import learning_of
from models.planning.review import SpecWarning, review
from models.planning.review.started import find_roles, start_warnings
from models.receipt import receipt_of
from models.report.report import write_report
from models.report.run import Names, Run
from models.serving.manifest import describe
from models.spec import TrainingSpec
from models.tables.faults import quoted
from models.tables.profile import Profile
from models.tables.readings import NumberReading
from models.tables.stored import TableDamaged
from models.training.earlier import read_networks
from models.training.engine import TrainedPopulation
from models.training.progress import Course, Interrupted
from models.training.runs import train_many

logger = logging.getLogger(__name__)

DAMAGED = "the stored table cannot be read: {}; restore its file from a backup"
# Members whose trouble is reported if all have failed, and classes that a fold lacks.
EXAMPLES = 3


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
class Context:
    """What a run works on, and the process around it.

    parquet, profile : the stored table
    dataset_sha256, parquet_sha256 : of the table as uploaded and as stored, for the receipt
    workdir : where files of the outcome are written
    device : torch's name; the number of CPU threads is torch's own, set by the caller
    """

    parquet: Path
    profile: Profile
    names: Names
    dataset_sha256: str
    parquet_sha256: str
    workdir: Path
    device: str
    callbacks: Callbacks

    def receipt(self, spec: TrainingSpec, earlier: EarlierModel | None = None) -> dict[str, Any]:
        return receipt_of(spec, self.dataset_sha256, self.parquet_sha256, self.device, earlier)

    def stop_if_requested(self) -> None:
        """Between two stages, stop like the training loop."""
        reason = self.callbacks.stop_requested()
        if reason in ("cancel", "release"):
            raise Stopped(reason)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run: the job's `result` without its model id, the folds, the files.

    `result`: metrics, metrics_error, baselines, folds, fold_mean, fold_std, holdout, diagnosis,
    warnings, seconds, receipt, and the objective's own, such as intervals.
    `artifacts`: file name to path; the names are in `models.artifacts`.
    """

    result: dict[str, Any]
    artifacts: dict[str, Path]


@dataclass(frozen=True)
class Laid:
    """A table as the folds of a spec see it.

    assigned : the folds' rows; `folds` without those that no network can train on
    warnings : of what the folds lack; `reviewed` adds others
    """

    design: Design
    holdout: Design
    assigned: list[FoldRows]
    folds: list[FoldRows]
    warnings: list[SpecWarning]


@dataclass(frozen=True)
class Trained:
    """Networks that trained on all folds, and what is served of them.

    blended : the members of the job's result that describe a blend
    epochs : those that the report draws
    added : further members of the result and of the manifest
    """

    populations: Sequence[TrainedPopulation]
    served: ServedModel
    blended: dict[str, Any]
    epochs: Sequence[FoldEpoch]
    added: dict[str, Any]


def run(context: Context, spec: TrainingSpec, earlier: EarlierModel | None = None) -> Outcome:
    """Train the spec's folds on the table and write the model's files.

    `spec` is resolved. `earlier`: the model that it starts from.

    Raises
    ------
    Stopped: the callbacks asked for it.
    TrainingFailed: the table is damaged, no fold has usable weights, or the exported model does
        not reproduce its own out-of-fold predictions.
    """
    clock, callbacks = Clock(), context.callbacks
    callbacks.report(Progress(0.0, 0, spec.max_epochs, spec.k_folds, spec.k_folds, None), [])
    laid = reviewed(context, spec, lay(context, spec, earlier))
    thinned = thin(spec, laid.design, laid.folds) if spec.learning_curve else []
    clock.lap("prepare")

    trials = spec.trials()
    monitor = CallbackMonitor(callbacks, spec)
    try:
        populations = train_many(
            trials,
            laid.design,
            laid.folds,
            device=torch.device(context.device),
            monitor=monitor,
            cores=torch.get_num_threads(),
            checkpoints=monitor.checkpoints(),
            thinned=thinned,
            earlier=() if earlier is None else read_networks(earlier.weights, len(trials)),
        )
    except Interrupted as interruption:
        raise Stopped(callbacks.stop_requested() or "release") from interruption
    trained, on_fewer = populations[: len(trials)], populations[len(trials) :]
    _refuse_untrained([course for population in trained for course in population.courses])
    context.stop_if_requested()
    clock.lap("train")

    served, blended = blend(spec, trained, laid.design, laid.folds)
    found = Trained(trained, served, blended, monitor.epochs(), {})
    return finish(context, spec, laid, found, clock, (thinned, on_fewer), earlier)


def lay(context: Context, spec: TrainingSpec, earlier: EarlierModel | None = None) -> Laid:
    """Read the table and lay the folds of a resolved spec; raises TrainingFailed."""
    warnings: list[SpecWarning] = []
    try:
        design, holdout = load_design(context.parquet, spec, select(spec, context.profile))
        roles = None
        if earlier is not None:
            found = find_roles(earlier, context.parquet)
            roles = found.of[design.rows]
            warnings += start_warnings(
                spec, earlier, found, design.target, design.fold_column, design.rows
            )
        assigned = split_rows(spec, design.target, design.fold_column, roles)
    except TableDamaged as damage:
        raise TrainingFailed(DAMAGED.format(damage)) from damage
    except ValueError as error:
        raise TrainingFailed(
            f"the rows with a target cannot be split into folds: {error}"
        ) from error
    folds = [_trainable(spec, design, fold) for fold in assigned]
    warnings += _unseen_classes(spec, design, folds)
    return Laid(design, holdout, assigned, folds, warnings)


def reviewed(context: Context, spec: TrainingSpec, laid: Laid) -> Laid:
    """With the objections that the table raises to the spec; raises TrainingFailed."""
    try:
        warnings = review(spec, context.profile, context.parquet)
    except TableDamaged as damage:
        raise TrainingFailed(DAMAGED.format(damage)) from damage
    return replace(laid, warnings=[*warnings, *laid.warnings])


def finish(
    context: Context,
    spec: TrainingSpec,
    laid: Laid,
    trained: Trained,
    clock: Clock,
    curve: tuple[Sequence[list[FoldRows]], Sequence[TrainedPopulation]] = ((), ()),
    earlier: EarlierModel | None = None,
) -> Outcome:
    """Score what was trained, write the model's files and prove that they give the same.

    `curve`: folds with fewer training rows, and what was trained on them.

    Raises
    ------
    Stopped: the callbacks asked for it.
    TrainingFailed: the exported model does not reproduce its own out-of-fold predictions.
    """
    design, folds, served = laid.design, laid.folds, trained.served
    learning = learning_of(spec)
    scored = [folds[fold].validation for fold in served.folds]
    scores = evaluate(served, spec, design, folds, laid.holdout, trained.populations)
    added = dict(trained.added)
    thinned, on_fewer = curve
    if spec.learning_curve:
        layouts = [folds, *thinned]
        added["learning_curve"] = errors_by_rows(
            served, scores.out_of_fold, spec, design, layouts, on_fewer
        )
    context.stop_if_requested()
    clock.lap("evaluate")

    receipt = context.receipt(spec, earlier)
    reading = next(one.reading for one in context.profile.columns if one.name == spec.target)
    manifest = describe(
        design,
        spec,
        kept=scores.assessment.manifest() | learning.kept(served.target) | trained.added,
        importance=scores.importance,
        likeness=likeness_of(spec, design),
        members=served.members,
        rows=int((scores.fold_of >= 0).sum()),
        unit=reading.unit or None if isinstance(reading, NumberReading) else None,
        receipt=receipt,
        warnings=laid.warnings,
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
        artifacts.WEIGHTS: weights_file(served, design, served_members(trained.blended)),
    }
    workdir = context.workdir
    for name, data in files.items():
        (workdir / name).write_bytes(data)
    scores.write_out_of_fold(workdir / artifacts.OUT_OF_FOLD)
    write_roles(
        roles_of(laid.assigned, design.rows, context.profile.rows), workdir / artifacts.ROLES
    )
    clock.lap("export")
    result = (
        scores.result()
        | trained.blended
        | _comparables(trained.populations)
        | added
        | {
            "warnings": [asdict(warning) for warning in laid.warnings],
            "seconds": clock.seconds(),
            "receipt": receipt,
        }
    )
    shown = _reported(
        Run(context.names, spec, context.profile, design, served, scores, result, trained.epochs),
        workdir,
    )
    clock.lap("report")
    result["seconds"] = clock.seconds()
    written = (*files, artifacts.OUT_OF_FOLD, artifacts.ROLES)
    return Outcome(result, {name: workdir / name for name in written} | shown)


def _reported(run: Run, folder: Path) -> dict[str, Path]:
    """The files of the report. Without one the model is as good, and the result says so."""
    try:
        return write_report(run, folder)
    except Exception as error:
        logger.exception("the report could not be made")
        run.result["warnings"].append(
            asdict(
                SpecWarning(
                    "report_missing",
                    f"the report could not be made ({type(error).__name__}). This is a bug in "
                    "foldhouse and says nothing about the model; the worker's log has the "
                    "traceback",
                )
            )
        )
        return {}


class Clock:
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
