"""What a sweep's trials and shards become when a shard of it ends; for `app.jobs.lifecycle`, in its
transactions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from app.ids import new_id
from app.jobs import history
from app.storage.tables import Job, Shard, ShardKind, State, Trial

OVER_BUDGET = "Not tried: the sweep's time was up."
NOTHING_LEARNT = "No trial has a model. The first one said: {}"


def numbers_of(shard: Shard) -> list[int]:
    """The trials of a batch."""
    return list(shard.spec["trials"])


def record(session: Session, shard: Shard, metric: str, rows: Iterable[dict[str, Any]]) -> None:
    """Store what a batch found of its trials."""
    events: list[history.Entry] = []
    for row in rows:
        trial = session.get_one(Trial, (shard.job_id, row["number"]))
        trial.state, trial.error = State(row["state"]), row["error"]
        if trial.state is State.SUCCEEDED:
            left_out = ("number", "state", "error")
            trial.result = {name: value for name, value in row.items() if name not in left_out}
            trial.value = row["metrics"][metric]
        found = {"trial": trial.number, "state": trial.state, "value": trial.value}
        events.append(("trial", found | {"metric": metric, "detail": trial.error}))
    session.flush()
    if events:
        history.append(session, shard, events)


def end(session: Session, shard: Shard, state: State, reason: str | None) -> None:
    """The trials of a batch that will not be trained are what the batch is."""
    session.execute(
        update(Trial)
        .where(Trial.job_id == shard.job_id, Trial.shard == shard.place)
        .where(Trial.state == State.QUEUED)
        .values(state=state, error=reason)
    )


def split(session: Session, shard: Shard) -> None:
    """Give the trials of a failed batch to two new ones, so that one that breaks its process takes
    few others with it. A single trial stays."""
    numbers = numbers_of(shard)
    if len(numbers) == 1:
        return
    half = len(numbers) // 2
    for own in (numbers[:half], numbers[half:]):
        place = add(session, shard.job_id, shard.tenant, ShardKind.BATCH, {"trials": own})
        session.execute(
            update(Trial)
            .where(Trial.job_id == shard.job_id, Trial.number.in_(own))
            .values(shard=place)
        )


def add(session: Session, job_id: str, tenant: str, kind: ShardKind, spec: dict[str, Any]) -> int:
    """A further shard of a job; returns its place. The caller has locked the job's row."""
    last = session.scalar(select(func.max(Shard.place)).where(Shard.job_id == job_id))
    place = 0 if last is None else last + 1
    session.execute(
        insert(Shard),
        {
            "id": new_id("shd"),
            "tenant": tenant,
            "job_id": job_id,
            "place": place,
            "kind": kind,
            "spec": spec,
            "state": State.QUEUED,
        },
    )
    return place


def is_over_budget(session: Session, job: Job) -> bool:
    """Whether no further batch of a sweep should begin; False for a job."""
    budget = None if job.sweep is None else job.sweep["device_seconds"]
    if budget is None:
        return False
    results = session.scalars(
        select(Shard.result).where(Shard.job_id == job.id, Shard.state == State.SUCCEEDED)
    )
    return bool(sum(result["seconds"]["total"] for result in results if result) >= budget)


def has_model_to_make(session: Session, job: Job) -> bool:
    """Whether all batches have ended, and left something to make the model of."""
    if job.cancel_requested_at is not None and not job.keep_best:
        return False
    last = select(Shard.id).where(Shard.job_id == job.id, Shard.kind == ShardKind.MODEL)
    if session.scalar(last) is not None:
        return False
    succeeded = select(Trial.number).where(Trial.job_id == job.id, Trial.state == State.SUCCEEDED)
    return session.scalar(succeeded.limit(1)) is not None


def status(last: State | None, job: Job) -> State:
    """Of a sweep whose shards have all ended; `last`: of the one that makes the model."""
    if last is not None:
        return last
    return State.FAILED if job.cancel_requested_at is None else State.CANCELLED


def first_reason(session: Session, job: Job) -> str | None:
    """Why the first of a sweep's trials failed."""
    failed = select(Trial.error).where(Trial.job_id == job.id, Trial.error.is_not(None))
    return session.scalar(failed.order_by(Trial.number).limit(1))


def succeeded(session: Session, job_id: str) -> Sequence[Trial]:
    return session.scalars(
        select(Trial)
        .where(Trial.job_id == job_id, Trial.state == State.SUCCEEDED)
        .order_by(Trial.number)
    ).all()
