"""Reads and writes about attempts between their transitions.

An attempt is one worker's try at a shard. Each of its writes has its fence as a condition, so that
a revived worker cannot overwrite its successor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Select, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.accounts import quotas
from app.accounts.quotas import NO_LIMITS, Limits
from app.jobs import history
from app.storage.database import database_now, upsert
from app.storage.tables import FINISHED, EpochMetric, Job, Model, Shard, ShardKind, State
from models.epochs import FIGURES, KEY, FoldEpoch

LEASE = 30.0  # seconds
# Seconds after which a job or a tenant counts as not served: else a job that was interrupted would
# wait for as long as new ones arrive.
TURN = 600.0


class Fence(NamedTuple):
    """Identifies an attempt; it is in the shard's row while the attempt owns the shard."""

    shard_id: str
    attempt: int
    owner: str

    def holds(self) -> ColumnElement[bool]:
        return (
            (Shard.id == self.shard_id)
            & (Shard.attempt == self.attempt)
            & (Shard.owner == self.owner)
            & (Shard.state == State.RUNNING)
        )


def renew(session: Session, fence: Fence) -> bool:
    """Extend the lease; False if the shard is no longer this attempt's."""
    return _write(session, fence, lease_until=database_now(LEASE))


def standing(session: Session, fence: Fence) -> Literal["wanted", "cancel", "keep_best", "lost"]:
    """Whether an attempt should continue, or how it should end."""
    row = session.execute(
        select(
            Job.cancel_requested_at,
            Job.keep_best,
            ((Job.deadline_at < database_now()) & (Shard.kind != ShardKind.MODEL)).label("late"),
        )
        .join(Shard, Shard.job_id == Job.id)
        .where(fence.holds())
    ).one_or_none()
    if row is None:
        return "lost"
    if row.cancel_requested_at is None:
        return "keep_best" if row.late else "wanted"
    return "keep_best" if row.keep_best else "cancel"


def record_progress(
    session: Session, fence: Fence, progress: dict[str, Any], epochs: Sequence[FoldEpoch] = ()
) -> bool:
    """Store the attempt's progress and new epochs; False if the shard is no longer its own.

    A resumed run reports the epochs after its checkpoint again; the later report replaces the row.
    """
    if not _write(session, fence, progress=progress):
        return False
    if epochs:
        shard = session.get_one(Shard, fence.shard_id)
        owner = {"tenant": shard.tenant, "job_id": shard.job_id, "shard": shard.place}
        statement = upsert(session, EpochMetric)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=("job_id", "shard", *KEY),
                set_={figure: statement.excluded[figure] for figure in FIGURES},
            ),
            [{**owner, **asdict(epoch)} for epoch in epochs],
        )
        history.append(session, shard, history.epochs(epochs, progress))
    return True


def due(session: Session, limit: int, quota: Limits = NO_LIMITS) -> Sequence[str]:
    """Ids of queued shards that may be claimed now, in the order of their turns.

    `quota`: of tenants without their own. A tenant that has as many running jobs as it may is
    passed over, but for the shards of those jobs.

    Tenants take turns, and so do the jobs of a tenant, the highest priority first. The next one is
    that without a claim in the last `TURN` seconds, or else that whose last claim was longest ago.
    Within a job, the shard that has waited longest comes first.
    """
    held = quotas.held(session, quota)
    running = select(Shard.job_id).where(Shard.state == State.RUNNING)
    waiting = (
        select(Shard.id, Shard.tenant, Shard.job_id, Shard.due_at, Job.priority)
        .join(Job, Job.id == Shard.job_id)
        .where(Shard.state == State.QUEUED, Shard.due_at <= database_now())
        .where(Shard.tenant.not_in(held.of_attempts))
        .where(Shard.tenant.not_in(held.of_jobs) | Shard.job_id.in_(running))
        .cte("waiting")
    )
    jobs = _last_claims(waiting.c.job_id, Shard.job_id).subquery("jobs")
    tenants = _last_claims(waiting.c.tenant, Shard.tenant).subquery("tenants")

    # Each job's first shard comes before the second of one of its priority. The same holds for
    # tenants.
    turn = func.row_number().over(
        partition_by=waiting.c.job_id, order_by=[waiting.c.due_at, waiting.c.id]
    )
    in_job = select(waiting, turn.label("turn_in_job")).subquery()
    turn = func.row_number().over(
        partition_by=in_job.c.tenant,
        order_by=[
            in_job.c.priority.desc(),
            in_job.c.turn_in_job,
            jobs.c.last.nulls_first(),
            in_job.c.due_at,
            in_job.c.id,
        ],
    )
    in_tenant = (
        select(in_job, turn.label("turn_in_tenant"))
        .join(jobs, jobs.c.owner == in_job.c.job_id)
        .subquery()
    )
    order = (in_tenant.c.turn_in_tenant, tenants.c.last.nulls_first(), in_tenant.c.due_at)
    return session.scalars(
        select(in_tenant.c.id)
        .join(tenants, tenants.c.owner == in_tenant.c.tenant)
        .order_by(*order, in_tenant.c.id)
        .limit(limit)
    ).all()


def _last_claims(
    owner: ColumnElement[str], of_shard: InstrumentedAttribute[str]
) -> Select[str, datetime | None]:
    """When a shard of each owner was last claimed, whether or not it still runs; null if that is
    longer ago than `TURN`."""
    recent = Shard.claimed_at > database_now(-TURN)
    last = select(func.max(Shard.claimed_at)).where(of_shard == owner, recent).scalar_subquery()
    return select(owner.label("owner"), last.label("last")).group_by(owner)


def expired(session: Session) -> list[Fence]:
    """Attempts whose lease has expired."""
    return _running(session, Shard.lease_until < database_now())


def running_on(session: Session, boot_id: str) -> list[Fence]:
    """Attempts that began on this boot of this host."""
    return _running(session, Shard.boot_id == boot_id)


def is_finished(session: Session, shard_id: str) -> bool:
    """Whether no attempt will follow; also true for a deleted shard."""
    state = session.scalar(select(Shard.state).where(Shard.id == shard_id))
    return state is None or state in FINISHED


def registered_artifacts(session: Session, shard_id: str) -> set[str] | None:
    """The SHA-256 of each file of the shard's model, or of a batch's trials; None if the shard was
    deleted."""
    row = session.execute(
        select(Model.artifacts, Shard.kind, Shard.result)
        .select_from(Shard)
        .outerjoin(Model, Model.shard_id == Shard.id)
        .where(Shard.id == shard_id)
    ).one_or_none()
    if row is None:
        return None
    of_batch = row.result["artifacts"] if row.kind is ShardKind.BATCH and row.result else {}
    return {*(row.artifacts or {}).values(), *of_batch.values()}


def _write(session: Session, fence: Fence, **values: Any) -> bool:
    written = update(Shard).where(fence.holds()).values(**values).returning(Shard.id)
    return session.scalar(written) is not None


def _running(session: Session, which: ColumnElement[bool]) -> list[Fence]:
    owner = func.coalesce(Shard.owner, "")
    rows = session.execute(
        select(Shard.id, Shard.attempt, owner).where(Shard.state == State.RUNNING, which)
    )
    return [Fence(*row) for row in rows]
