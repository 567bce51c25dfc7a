"""Every state transition of a job and its shards.

    enqueue ──▶ QUEUED ──claim──▶ RUNNING ──succeed, fail, cancel──▶ SUCCEEDED, FAILED, CANCELLED
                  ▲                  │
                  └──release, lose───┘        (lose: FAILED once the attempts are used up)

The database row is the truth. A transition of a running shard first locks the row by the attempt's
fence, and finds none if the attempt has lost its claim. The job's status follows its shards in the
same transaction (`aggregate`), and each transition adds an event; the last one also messages to
webhooks. To avoid deadlocks, locks are taken in one order: the tenant's quotas, shards by their
place, then their job.

A sweep has a shard for each batch of its trials. When all have ended, the same transaction adds the
one that makes the model (`app.jobs.batches`).

The functions take a session; the caller owns the transaction. Those that take a fence return None
or False if it no longer holds, and have then written nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Select, exists, func, insert, select, update
from sqlalchemy.orm import Session

from app.accounts import quotas
from app.accounts.quotas import NO_LIMITS, Limits
from app.errors import TYPE_PREFIX, Conflict, ProblemDocument
from app.ids import new_id
from app.jobs import batches, history, reproduction, starts
from app.jobs.attempts import LEASE, Fence
from app.jobs.starts import Start
from app.logs import CONTEXT
from app.registry import history as alias_history
from app.registry.names import CHAMPION
from app.storage.database import database_now, upsert
from app.storage.tables import (
    FINISHED,
    MAX_ATTEMPTS_AFTER_WORKER_DEATHS,
    TRANSITIONS,
    Alias,
    Dataset,
    EpochMetric,
    Job,
    Model,
    Shard,
    ShardKind,
    State,
)
from app.webhooks import outbox
from models.artifacts import trial_file

NO_MODEL = "The training run produced no model"
OUT_OF_TIME = (
    "The time limit of {:g} s was up before anything was learnt. Submit it with a longer "
    "`timeout_s`, or with `effort: quick`."
)
BACKOFF = 1.0  # seconds before the second attempt; doubled before each further one


@dataclass(frozen=True)
class TrialFile:
    """A trial that succeeded, and where its batch left its file."""

    number: int
    spec: dict[str, Any]
    result: dict[str, Any]
    folder: str  # of the artifacts
    sha256: str


@dataclass(frozen=True)
class Claim:
    """What a worker needs to run an attempt. `start`: None also if the model has been deleted.

    spec : what it trains; of a sweep's shards what the trials share
    sweep : the sweep's settings
    trials : numbers of a batch's trials
    files : of the trials of which the sweep's last shard makes the model
    """

    fence: Fence
    kind: ShardKind
    tenant: str
    job_id: str
    request_id: str | None
    job_name: str | None
    dataset_name: str
    spec: dict[str, Any]
    profile: dict[str, Any]
    parquet: str  # key in storage
    dataset_sha256: str
    parquet_sha256: str | None
    start: Start | None
    sweep: dict[str, Any] | None = None
    trials: Sequence[int] = ()
    files: Sequence[TrialFile] = ()


def enqueue(
    session: Session,
    *,
    tenant: str,
    name: str | None,
    dataset_id: str,
    spec: dict[str, Any],
    target: str,
    shards: Sequence[dict[str, Any]] = (),
    sweep: dict[str, Any] | None = None,
    priority: int = 0,
    timeout_s: float | None = None,
    reproduces: str | None = None,
    reference: dict[str, Any] | None = None,
) -> str:
    """Insert a queued job and its shards; returns the job's id. Send the hint after the commit.

    `shards`: the spec of each; by default one shard with the job's spec. `sweep`: the settings of
    a sweep, whose shards are batches. `reproduces`: the job that it trains again; `reference`: its
    numbers, if another installation trained it.
    """
    # Plain inserts, because the ORM takes three times as long and clients queue for this.
    connection = session.connection()
    job_id = new_id("job" if sweep is None else "swp")
    kind = ShardKind.JOB if sweep is None else ShardKind.BATCH
    of = {"tenant": tenant, "job_id": job_id}
    connection.execute(
        insert(Job),
        {
            "id": job_id,
            "tenant": tenant,
            "name": name,
            "dataset_id": dataset_id,
            "target": target,
            "spec": spec,
            "status": State.QUEUED,
            "sweep": sweep,
            "priority": priority,
            "timeout_s": timeout_s,
            "reproduces": reproduces,
            "reference": reference,
            "request_id": CONTEXT.get().get("request_id"),
        },
    )
    connection.execute(
        insert(Shard),
        [
            of
            | {"id": new_id("shd"), "place": place, "kind": kind}
            | {"spec": own, "state": State.QUEUED}
            for place, own in enumerate(shards or [spec])
        ],
    )
    history.begin(session, tenant, job_id)
    return job_id


def request_cancel(session: Session, job: Job, *, keep_best: bool = False) -> None:
    """Cancel the queued shards of a job at once, and ask the workers of the others to stop.

    `keep_best`: a run ends with a model of the best weights so far. A queued shard that has trained
    in an earlier attempt stays queued, and the next attempt makes a model of it. So does the one
    that makes a sweep's model.

    Raises
    ------
    Conflict: the job is finished, or is already being cancelled without `keep_best`.
    """
    of_job = _locked().where(Shard.job_id == job.id).order_by(Shard.place)
    shards = session.scalars(of_job).all()
    session.refresh(job)
    if job.status in FINISHED:
        raise Conflict(
            f"The {_noun(job.id)} cannot be cancelled, because it has already ended as "
            f"{job.status}."
        )
    at_once = [
        shard
        for shard in shards
        if shard.state is State.QUEUED and not (keep_best and _has_learnt(session, shard))
    ]
    if job.cancel_requested_at is None:
        job.cancel_requested_at = database_now()
        job.keep_best = keep_best
    elif not keep_best:
        job.keep_best = False
    elif not job.keep_best:
        raise Conflict(f"The {_noun(job.id)} is already being cancelled without keep_best.")
    # If all shards are queued, the job ends here, without a worker.
    for shard in at_once:
        _move(session, shard, State.CANCELLED)


def claim(
    session: Session, shard_id: str, *, owner: str, boot_id: str, quota: Limits = NO_LIMITS
) -> Claim | None:
    """Begin an attempt of a shard; None if it is not queued and due, or no longer, or if its tenant
    may not begin one now. `quota`: of tenants without their own."""
    of = session.execute(select(Shard.tenant, Shard.job_id).where(Shard.id == shard_id)).first()
    if of is None:
        return None
    allowed = quotas.lock(session, of.tenant, quota)
    if not quotas.may_begin(session, of.tenant, allowed, of.job_id):
        return None
    shard = session.scalar(
        update(Shard)
        .where(Shard.id == shard_id, Shard.state == State.QUEUED, Shard.due_at <= database_now())
        .values(
            state=State.RUNNING,
            attempt=Shard.attempt + 1,
            owner=owner,
            boot_id=boot_id,
            lease_until=database_now(LEASE),
            claimed_at=database_now(),
        )
        .returning(Shard)
        .execution_options(populate_existing=True)
    )
    if shard is None:
        return None
    job = _follow(session, shard)
    is_batch = shard.kind is ShardKind.BATCH
    is_over = _is_late(session, job) or batches.is_over_budget(session, job)
    if is_over and not _has_learnt(session, shard):  # one that has ends with its weights
        _end_late(session, shard, job)
        return None
    dataset = session.get_one(Dataset, job.dataset_id)
    return Claim(
        fence=Fence(shard.id, shard.attempt, owner),
        kind=shard.kind,
        tenant=job.tenant,
        job_id=job.id,
        request_id=job.request_id,
        job_name=job.name,
        dataset_name=dataset.name,
        spec=shard.spec if job.sweep is None else job.spec,
        profile=dataset.profile,
        parquet=dataset.parquet,
        dataset_sha256=dataset.sha256,
        parquet_sha256=dataset.parquet_sha256,
        start=starts.of_resolved(session, job.tenant, shard.spec),
        sweep=job.sweep,
        trials=batches.numbers_of(shard) if is_batch else (),
        files=_trial_files(session, job) if shard.kind is ShardKind.MODEL else (),
    )


def record_batch(
    session: Session,
    fence: Fence,
    rows: Sequence[dict[str, Any]],
    seconds: dict[str, float],
    artifacts: dict[str, str],
) -> bool:
    """Store what a batch of a sweep's trials found; False if nothing is wanted of it.

    `artifacts`: SHA-256 of the trials' files, which are already in the shard's folder.
    """
    shard = _lock(session, fence)
    if shard is None:
        return False
    if _cancel_requested(session, shard):
        _move(session, shard, State.CANCELLED)
        return False
    job = session.get_one(Job, shard.job_id)
    assert job.sweep is not None
    batches.record(session, shard, job.sweep["metric"], rows)
    shard.result = {"seconds": seconds, "artifacts": artifacts}
    _move(session, shard, State.SUCCEEDED)
    return True


def succeed(
    session: Session, fence: Fence, result: dict[str, Any], artifacts: dict[str, str]
) -> str | None:
    """Register the model of a finished run; returns its id, or None if the job was cancelled.

    `result` is what the run reported, without `model_id`. `artifacts` maps file names to the
    SHA-256 under which they are already stored in the shard's folder.
    """
    shard = _lock(session, fence)
    if shard is None:
        return None
    if _cancel_requested(session, shard):
        _move(session, shard, State.CANCELLED)
        return None
    job = session.get_one(Job, shard.job_id)
    model = Model(
        id=new_id("mdl"),
        tenant=job.tenant,
        job_id=job.id,
        shard_id=shard.id,
        dataset_id=job.dataset_id,
        target=job.target,
        metrics=result["metrics"],
        artifacts=artifacts,
    )
    session.add(model)
    session.flush()
    # Does nothing if the tenant has a champion.
    champion = {"tenant": model.tenant, "name": CHAMPION, "model_id": model.id}
    first = upsert(session, Alias).values(champion).on_conflict_do_nothing()
    if session.scalar(first.returning(Alias.name)) is not None:
        alias_history.record(session, model.tenant, CHAMPION, model.id)
    shard.result = {"model_id": model.id, **result}
    if job.reproduces is not None:
        found = reproduction.compare(session, job, shard.result, artifacts)
        shard.result = {**shard.result, "reproduction": found}
    history.append(session, shard, history.results(shard.result))
    _move(session, shard, State.SUCCEEDED)
    return model.id


def fail(session: Session, fence: Fence, detail: str) -> bool:
    """The run cannot produce a model, and neither could another attempt. A batch of several trials
    is split instead."""
    shard = _lock(session, fence)
    if shard is None:
        return False
    _fail(session, shard, "training-failed", NO_MODEL, 422, detail)
    return True


def cancel(session: Session, fence: Fence) -> bool:
    """The attempt stopped because the job was cancelled, or its time was up, before it had learnt
    anything."""
    shard = _lock(session, fence)
    if shard is None:
        return False
    job = session.get_one(Job, shard.job_id)
    if job.cancel_requested_at is None and job.deadline_at is not None:
        _end_late(session, shard, job)
    else:
        _move(session, shard, State.CANCELLED)
    return True


def release(session: Session, fence: Fence) -> bool:
    """Queue the shard again because its worker stops; the attempt does not count."""
    shard = _lock(session, fence)
    if shard is None:
        return False
    if _cancel_requested(session, shard):
        _move(session, shard, State.CANCELLED)
    else:
        shard.due_at = database_now()
        _move(session, shard, State.QUEUED)
        shard.attempt -= 1
    return True


def lose(
    session: Session,
    fence: Fence,
    detail: str,
    *,
    blame: Literal["job", "worker", "machine"] = "job",
) -> State | None:
    """The attempt's process or worker died: queue the shard again, or fail it after the last.

    `detail` says what happened and what to do about it, in case this was the last attempt.
    `blame`: if only the training process dies, the job is probably the cause. The death of a worker
    or a full disk is not the job's fault, unless it happens again and again
    (docs/decisions/0006-deaths-of-workers.md).
    """
    shard = _lock(session, fence)
    if shard is None:
        return None
    if blame != "job":
        shard.max_attempts = min(shard.max_attempts + 1, MAX_ATTEMPTS_AFTER_WORKER_DEATHS)
    if _cancel_requested(session, shard):
        _move(session, shard, State.CANCELLED, detail)
    elif shard.attempt < shard.max_attempts:
        # Another worker takes over from a dead one, and may do so at once.
        doublings = 0 if blame == "worker" else shard.attempt - 1
        shard.due_at = database_now(BACKOFF * 2**doublings)
        _move(session, shard, State.QUEUED, detail)
    else:
        title = f"Gave up after {shard.attempt} attempts (attempts_exhausted)"
        _fail(session, shard, "attempts-exhausted", title, 500, detail)
    return shard.state


def aggregate(session: Session, job: Job) -> None:
    """Lock the job's row and update it from its shards, in the transaction that changed one.

    status : RUNNING while a shard runs, else QUEUED while one waits. When all have ended:
        FAILED if all failed;
        CANCELLED if it was cancelled without `keep_best`;
        SUCCEEDED if any shard succeeded;
        FAILED if one failed, else CANCELLED.
    error : for a failed job, the error of its first failed shard.
    result : the shard's result if there is only one; of a sweep, the last one's.
    started_at, finished_at : when the first shard was claimed, and when the last one ended.
    """
    session.flush()
    # Not FOR UPDATE, because inserts of other shards' epochs and events refer to the job.
    session.refresh(job, with_for_update={"key_share": True})
    states = session.execute(
        select(Shard.state, func.count(), func.min(Shard.place))
        .where(Shard.job_id == job.id)
        .group_by(Shard.state)
    ).all()
    first = {state: place for state, _, place in states}
    job.status = _status(first.keys(), job)
    if job.status is State.RUNNING and job.started_at is None:
        _start(session, job)
    if job.status not in FINISHED:
        return
    if job.sweep is not None:
        _end_sweep(session, job)
        return
    job.finished_at = database_now()
    if job.status is State.FAILED:
        of_first = (Shard.job_id == job.id) & (Shard.place == first[State.FAILED])
        job.error = session.scalar(select(Shard.error).where(of_first))
    if sum(count for _, count, _ in states) == 1:
        job.result = session.scalar(select(Shard.result).where(Shard.job_id == job.id))


def _start(session: Session, job: Job) -> None:
    job.started_at = database_now()
    timeout = job.timeout_s if job.sweep is None else job.sweep["timeout_s"]
    if timeout is not None:
        job.deadline_at = session.scalar(select(database_now(timeout)))


def _end_late(session: Session, shard: Shard, job: Job) -> None:
    """End a shard that has learnt nothing although its job's time, or a sweep's budget, is up."""
    if shard.kind is ShardKind.BATCH:
        _move(session, shard, State.CANCELLED, batches.OVER_BUDGET)
    else:
        _fail(session, shard, "training-failed", NO_MODEL, 422, OUT_OF_TIME.format(job.timeout_s))


def _is_late(session: Session, job: Job) -> bool:
    if job.deadline_at is None:
        return False
    late = select(Job.id).where(Job.id == job.id, Job.deadline_at <= database_now())
    return session.scalar(late) is not None


def _end_sweep(session: Session, job: Job) -> None:
    """All shards of a sweep have ended: queue the one that makes the model, or end the sweep."""
    if batches.has_model_to_make(session, job):
        batches.add(session, job.id, job.tenant, ShardKind.MODEL, {})
        job.status = State.QUEUED
        return
    of_job = select(Shard).where(Shard.job_id == job.id, Shard.kind == ShardKind.MODEL)
    last = session.scalar(of_job)
    job.status = batches.status(last.state if last else None, job)
    job.finished_at = database_now()
    if last is not None:
        job.error, job.result = last.error, last.result
    elif job.status is State.FAILED:
        reason = batches.first_reason(session, job)
        detail = batches.NOTHING_LEARNT.format(reason or batches.OVER_BUDGET)
        job.error = _problem(job.id, "training-failed", NO_MODEL, 422, detail)


def _trial_files(session: Session, job: Job) -> list[TrialFile]:
    of_job = Shard.job_id == job.id
    shards = {shard.place: shard for shard in session.scalars(select(Shard).where(of_job))}
    found = []
    for trial in batches.succeeded(session, job.id):
        shard = shards[trial.shard]
        assert shard.result is not None
        assert trial.spec is not None
        assert trial.result is not None
        sha256 = shard.result["artifacts"][trial_file(trial.number)]
        found.append(TrialFile(trial.number, trial.spec, trial.result, shard.id, sha256))
    return found


def _status(states: Collection[State], job: Job) -> State:
    """The job's status, from the states of its shards."""
    if State.RUNNING in states:
        return State.RUNNING
    if State.QUEUED in states:
        return State.QUEUED
    if states != {State.FAILED} and job.cancel_requested_at is not None and not job.keep_best:
        return State.CANCELLED
    return next(s for s in (State.SUCCEEDED, State.FAILED, State.CANCELLED) if s in states)


def _has_learnt(session: Session, shard: Shard) -> bool:
    """Whether an attempt may have left weights. A new attempt begins to report at 0, and the epoch
    in its progress is that of the slowest member; but the epochs that were stored stay."""
    if shard.kind is ShardKind.MODEL or (shard.progress and shard.progress.get("fraction", 0) > 0):
        return True
    of_shard = (EpochMetric.job_id == shard.job_id) & (EpochMetric.shard == shard.place)
    return session.scalar(select(exists().where(of_shard))) is True


def _locked() -> Select[Shard]:
    """Select shards, locked and fresh, even if this session has read them before."""
    return select(Shard).with_for_update().execution_options(populate_existing=True)


def _lock(session: Session, fence: Fence) -> Shard | None:
    return session.scalar(_locked().where(fence.holds()))


def _cancel_requested(session: Session, shard: Shard) -> bool:
    """Whether a locked shard should end without a model. The flag is set while all shards of the
    job are locked."""
    job = session.get_one(Job, shard.job_id, populate_existing=True)
    return job.cancel_requested_at is not None and not job.keep_best


def _move(session: Session, shard: Shard, to: State, detail: str | None = None) -> None:
    """Move a locked shard to another state."""
    if to not in TRANSITIONS[shard.state]:
        raise ValueError(f"a shard that is {shard.state} cannot become {to}")
    if shard.state is State.RUNNING:
        quotas.note_attempt(session, shard)
    shard.state = to
    shard.owner = shard.boot_id = shard.lease_until = None
    if shard.kind is ShardKind.BATCH and to in (State.FAILED, State.CANCELLED):
        batches.end(session, shard, to, detail)
    _follow(session, shard, detail)


def _follow(session: Session, shard: Shard, detail: str | None = None) -> Job:
    """Update the job after its shard, and add an event to its history."""
    job = session.get_one(Job, shard.job_id)
    aggregate(session, job)
    history.append(session, shard, [history.state(shard, job.status, detail)])
    if job.status in FINISHED:
        outbox.announce(session, job)
    return job


def _fail(session: Session, shard: Shard, slug: str, title: str, status: int, detail: str) -> None:
    shard.error = _problem(shard.job_id, slug, title, status, detail)
    if shard.kind is ShardKind.BATCH:
        # Before the shard ends: the sweep must not.
        job = session.get_one(
            Job, shard.job_id, with_for_update={"key_share": True}, populate_existing=True
        )
        if job.cancel_requested_at is None:
            batches.split(session, shard)
    _move(session, shard, State.FAILED, detail)


def _problem(job_id: str, slug: str, title: str, status: int, detail: str) -> dict[str, Any]:
    return ProblemDocument(
        type=TYPE_PREFIX + slug,
        title=title,
        status=status,
        detail=detail,
        instance=f"/v1/{_noun(job_id)}s/{job_id}",
        errors=[],
    ).model_dump(mode="json")


def _noun(job_id: str) -> str:
    return "sweep" if job_id.startswith("swp_") else "job"
