"""Checks, submits, shows, cancels and deletes sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from app.accounts import quotas
from app.errors import Fault, InvalidSpec
from app.jobs import lifecycle
from app.jobs import service as job_service
from app.jobs.repository import JobRow
from app.resources import Resources
from app.storage import idempotency
from app.storage.tables import FINISHED, Job, ShardKind, State, Trial
from app.sweeps import dealing, repository
from app.sweeps.dealing import Dealer
from app.sweeps.repository import Count
from app.sweeps.schemas import (
    BestOut,
    SweepCreate,
    SweepOut,
    SweepProgressOut,
    TrialDetailOut,
    TrialOut,
)
from models.objectives import objective_of
from models.planning.faults import SpecError
from models.spec import EarlyStopping, TrainingSpec
from models.spec.architectures import MlpArchitecture
from models.spec.sweep import SweepSpec
from models.sweeps.defaults import complete
from models.sweeps.reading import base_of
from models.sweeps.space import Space
from models.sweeps.table import check_table
from models.tables.profile import Profile

# Of a spec that is only there so that columns are chosen and read as for a blend.
TWO_MEMBERS = [{"architecture": {"type": "mlp"}}] * 2
MOST_REASONS = 3


@dataclass(frozen=True)
class SweepPlan:
    """rows: the trials, if they can be drawn at once; batches: their numbers."""

    dealer: Dealer
    dataset_id: str
    trials: int
    rows: list[dict[str, Any]]
    batches: list[list[int]]


def plan(resources: Resources, tenant: str, body: SweepCreate) -> SweepPlan:
    """Resolve what trials share, and draw them if the sampler does not learn.

    Raises
    ------
    NotFound: there is no such dataset.
    InvalidSpec: the space, or what the trials share, does not fit the table or the workers.
    ArtifactCorrupt: the stored table is damaged.
    """
    sweep = body.settings()
    has_own_space = sweep.search_space is not None
    is_blended = sweep.keep == "blend" or not (has_own_space or "architecture" in sweep.spec)
    probe: dict[str, Any] = {
        name: value for name, value in sweep.spec.items() if name not in ("architecture", "effort")
    } | {"target": body.target}
    try:
        base_of(sweep, body.target)
        if has_own_space:
            Space.of(sweep, body.target)  # before the table is looked at
        probe |= {"members": TWO_MEMBERS} if is_blended else {"architecture": {"type": "mlp"}}
        shared = TrainingSpec.model_validate(probe)
    except SpecError as error:
        raise _refused(error) from None
    try:
        found = job_service.resolved(resources, tenant, body.dataset_id, shared)
    except InvalidSpec as error:
        for fault in error.errors:
            if fault.pointer not in ("/dataset_id", "/target"):
                fault.pointer = f"/spec{fault.pointer}"
        raise
    try:
        sweep = complete(sweep, body.target, found.profile)
        space = Space.of(sweep, body.target)
        check_table(space, found.profile)
    except SpecError as error:
        raise _refused(error) from None
    sweep = sweep.model_copy(
        update={"n_trials": space.trials, "metric": _metric(sweep, found.spec, found.profile)}
    )
    family = _family(sweep, found.spec)
    dealer = Dealer(sweep, family, found.profile, found.room, resources.settings)
    rows: list[dict[str, Any]] = []
    if sweep.sampler != "tpe":
        rows = dealer.drawn(0, space.trials)
        if all(row["spec"] is None for row in rows):
            reasons = dict.fromkeys(row["error"] for row in rows)
            detail = "; ".join([*reasons][:MOST_REASONS])
            raise InvalidSpec(
                f"No trial of the sweep can be trained: {detail}",
                [Fault(pointer="/search_space", detail=detail)],
            )
    batches = dealing.batches(sweep, rows, space.trials)
    return SweepPlan(dealer, found.dataset.id, space.trials, rows, batches)


def _refused(error: SpecError) -> InvalidSpec:
    faults = [Fault(pointer=fault.pointer, detail=fault.detail) for fault in error.faults]
    return InvalidSpec(f"{error}.", faults)


def _metric(sweep: SweepSpec, spec: TrainingSpec, profile: Profile) -> str:
    objective = objective_of(spec)
    if sweep.metric is None:
        smallest = next(own.min for own in profile.columns if own.name == spec.target)
        place = 0 if smallest is None or smallest > 0 else -1
        return objective.headline[place]
    if sweep.metric not in objective.metrics:
        detail = f"must be one of {', '.join(objective.metrics)}, got '{sweep.metric}'"
        raise InvalidSpec(f"'metric' {detail}.", [Fault(pointer="/metric", detail=detail)])
    return sweep.metric


def _family(sweep: SweepSpec, spec: TrainingSpec) -> TrainingSpec:
    """What trials share, of a resolved spec: the columns, the folds, and rows to watch wherever a
    trial may want some."""
    watched = any(name.startswith("early_stopping") for name in sweep.search_space or {})
    stopping = spec.early_stopping
    if stopping is None and (watched or sweep.halving is not None):
        stopping = EarlyStopping()
    own = {"members": None, "architecture": MlpArchitecture(), "early_stopping": stopping}
    return spec.model_copy(update=own)


def submit(resources: Resources, tenant: str, body: SweepCreate, key: str | None) -> JobRow:
    """Queue a sweep; raises as `plan` does, TooManyQueued, OverQuota and IdempotencyMismatch."""
    database, settings = resources.database, resources.settings
    request = idempotency.fingerprint("POST /v1/sweeps", body.model_dump_json())
    with database.reading() as session:
        known = idempotency.recall(session, tenant, key, request)
        if known is not None:
            with idempotency.repeating(key):
                return repository.get(session, tenant, known)
    found = plan(resources, tenant, body)
    with database.writing() as session:
        allowed = quotas.lock(session, tenant, quotas.defaults(settings))
        waiting = quotas.queued_jobs(session, tenant)

        def create() -> str:
            quotas.require_place(session, tenant, allowed, waiting)
            sweep_id = lifecycle.enqueue(
                session,
                tenant=tenant,
                name=body.name,
                priority=body.priority,
                dataset_id=found.dataset_id,
                spec=found.dealer.family.model_dump(mode="json"),
                target=body.target,
                sweep=found.dealer.sweep.model_dump(mode="json"),
                shards=[{"trials": own} for own in found.batches],
            )
            for place, own in enumerate(found.batches if found.rows else ()):
                rows = [found.rows[number] for number in own]
                dealing.store(session, tenant, sweep_id, place, rows)
            refused = [row for row in found.rows if row["spec"] is None]
            if refused:
                dealing.store(session, tenant, sweep_id, 0, refused)
            return sweep_id

        sweep_id = idempotency.once(session, tenant, key, request, create)
        return repository.get(session, tenant, sweep_id)


def cancel(session: Session, tenant: str, sweep_id: str, *, keep_best: bool) -> JobRow:
    """Cancel a sweep; with `keep_best` it ends with the model of what has trained. Raises Conflict
    if it is finished."""
    row = repository.get(session, tenant, sweep_id)
    lifecycle.request_cancel(session, row.job, keep_best=keep_best)
    session.flush()
    session.refresh(row.job)
    return repository.get(session, tenant, row.job.id)


def show(session: Session, rows: Sequence[JobRow]) -> list[SweepOut]:
    counts = repository.counts(session, [row.job.id for row in rows])
    best = repository.best(session, {row.job.id: perfect_of(row.job) for row in rows})
    return [_shown(row, counts[row.job.id], best.get(row.job.id)) for row in rows]


# With a job.
SHARED = ("id", "name", "dataset_id", "target", "status", "priority")


def _shown(row: JobRow, counts: Sequence[Count], best: Trial | None) -> SweepOut:
    job = row.job
    assert job.sweep is not None
    sweep: Mapping[str, Any] = job.sweep
    metric = sweep["metric"]
    result = job.result or {}
    found = result.get("sweep", {})
    return SweepOut.model_validate(
        {name: getattr(job, name) for name in SHARED}
        | {name: sweep[name] for name in sweep if name in SweepOut.model_fields}
        | {
            "progress": _progress(row, counts, sweep["n_trials"]),
            "best": None
            if best is None
            else BestOut(
                trial=best.number,
                params=best.point,
                value=best.value or 0.0,
                standard_error=(best.result or {}).get("metrics_error", {}).get(metric),
            ),
            "expected": found.get("expected"),
            "as_good": found.get("as_good"),
            "members": found.get("members", []),
            "bytes": found.get("bytes"),
            "row_seconds": found.get("row_seconds"),
            "model_id": result.get("model_id"),
            "metrics": result.get("metrics"),
            "metrics_error": result.get("metrics_error"),
            "cancel_requested": job.cancel_requested_at is not None,
            "created_at": job.created_at,
            "started_at": job.started_at,
            "finished_at": job.finished_at,
            "error": job.error,
        }
    )


def perfect_of(job: Job) -> float:
    """The value of the sweep's metric for perfect predictions."""
    assert job.sweep is not None
    spec = TrainingSpec.model_validate(job.spec)
    return objective_of(spec).metrics[job.sweep["metric"]].perfect


def _progress(row: JobRow, counts: Sequence[Count], trials: int) -> SweepProgressOut:
    running = {shard.place for shard in row.shards if shard.state is State.RUNNING}
    by_state = dict.fromkeys(State, 0)
    for count in counts:
        is_running = count.state is State.QUEUED and count.shard in running
        by_state[State.RUNNING if is_running else count.state] += count.trials
    # Each batch counts as many trials as it has, and the last shard, which exports, as a batch.
    whole = trials + max(1.0, trials / dealing.BATCHES)
    ended = sum(by_state[state] for state in FINISHED)
    partly = sum(
        (shard.progress or {}).get("fraction", 0.0)
        * sum(
            count.trials
            for count in counts
            if count.shard == shard.place and count.state is State.QUEUED
        )
        for shard in row.shards
        if shard.state is State.RUNNING and shard.kind is ShardKind.BATCH
    )
    is_over = row.job.status in FINISHED
    fraction = 1.0 if is_over else min((ended + partly) / whole, 1.0)
    return SweepProgressOut(
        trials=trials,
        succeeded=by_state[State.SUCCEEDED],
        failed=by_state[State.FAILED],
        cancelled=by_state[State.CANCELLED],
        running=by_state[State.RUNNING],
        fraction=fraction,
        eta_s=_eta(row.job, fraction),
    )


def _eta(job: Job, fraction: float) -> float | None:
    if job.status in FINISHED:
        return 0.0
    if job.started_at is None or fraction == 0:
        return None
    taken = (datetime.now(UTC) - job.started_at).total_seconds()
    return round(max(taken, 0.0) * (1 - fraction) / fraction, 1)


def leaderboard(session: Session, row: JobRow) -> list[TrialOut]:
    """The best first; those without a value last, by number."""
    job = row.job
    assert job.sweep is not None
    metric, perfect = job.sweep["metric"], perfect_of(job)
    running = repository.running_shards(session, job.id)
    trials = sorted(
        repository.trials(session, job.id),
        key=lambda trial: (
            trial.value is None,
            0.0 if trial.value is None else abs(trial.value - perfect),
            trial.number,
        ),
    )
    return [TrialOut.of(trial, metric, running) for trial in trials]


def trial(session: Session, row: JobRow, number: int) -> TrialDetailOut:
    """Raises NotFound."""
    job = row.job
    assert job.sweep is not None
    found = repository.trial(session, job.id, number)
    shown = TrialOut.of(found, job.sweep["metric"], repository.running_shards(session, job.id))
    result = found.result or {}
    return TrialDetailOut(
        **shown.model_dump(),
        spec=None if found.spec is None else {"dataset_id": job.dataset_id, **found.spec},
        metrics=result.get("metrics"),
        metrics_error=result.get("metrics_error"),
    )
