"""What is written and asked about attempts between their transitions.

An attempt is one worker's try at a shard. Its fence goes into the condition of each of its writes,
so that a revived worker cannot overwrite its successor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from app.storage.database import database_now, upsert
from app.storage.tables import FINISHED, EpochMetric, Job, Model, Shard, State

LEASE = 30.0  # seconds


class Fence(NamedTuple):
    """Names one attempt; the shard's row carries it as long as that attempt owns the shard."""

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


@dataclass(frozen=True)
class EpochRecord:
    """One row for `epoch_metrics`."""

    fold: int
    epoch: int
    train_loss: float | None
    validation_loss: float | None
    learning_rate: float
    # Checkpoints carry records, and those written before there were these three are still read.
    gradient_norm: float | None = None
    dead_units: float | None = None
    saturated_units: float | None = None


def renew(session: Session, fence: Fence) -> bool:
    """Extend the lease; False: the shard is no longer this attempt's."""
    return _write(session, fence, lease_until=database_now(LEASE))


def standing(session: Session, fence: Fence) -> Literal["wanted", "cancel", "keep_best", "lost"]:
    """Whether an attempt should go on, and how it should end."""
    row = session.execute(
        select(Job.cancel_requested_at, Job.keep_best)
        .join(Shard, Shard.job_id == Job.id)
        .where(fence.holds())
    ).one_or_none()
    if row is None:
        return "lost"
    if row.cancel_requested_at is None:
        return "wanted"
    return "keep_best" if row.keep_best else "cancel"


def record_progress(
    session: Session, fence: Fence, progress: dict[str, Any], epochs: Sequence[EpochRecord] = ()
) -> bool:
    """Store how far the attempt is and its new epochs; False: the shard is no longer its own.

    A resumed run reports again the epochs after its checkpoint: the later report replaces the row.
    """
    if not _write(session, fence, progress=progress):
        return False
    if epochs:
        shard = session.get_one(Shard, fence.shard_id)
        owner = {"tenant": shard.tenant, "job_id": shard.job_id}
        statement = upsert(session, EpochMetric)
        key = ("job_id", "fold", "epoch")
        measured = [field.name for field in fields(EpochRecord) if field.name not in key]
        session.execute(
            statement.on_conflict_do_update(
                index_elements=key,
                set_={column: statement.excluded[column] for column in measured},
            ),
            [{**owner, **asdict(epoch)} for epoch in epochs],
        )
    return True


def due(session: Session, limit: int) -> Sequence[str]:
    """Ids of queued shards that may be claimed now, the longest waiting first."""
    return session.scalars(
        select(Shard.id)
        .where(Shard.state == State.QUEUED, Shard.due_at <= database_now())
        .order_by(Shard.due_at, Shard.id)
        .limit(limit)
    ).all()


def expired(session: Session) -> list[Fence]:
    """Attempts whose lease ran out."""
    return _running(session, Shard.lease_until < database_now())


def running_on(session: Session, boot_id: str) -> list[Fence]:
    """Attempts that began on this boot of this host."""
    return _running(session, Shard.boot_id == boot_id)


def is_finished(session: Session, shard_id: str) -> bool:
    """Whether no attempt will follow; so it is with a shard that is no more."""
    state = session.scalar(select(Shard.state).where(Shard.id == shard_id))
    return state is None or state in FINISHED


def registered_artifacts(session: Session, shard_id: str) -> dict[str, set[str]]:
    """By job, of the one that has this shard: the SHA-256 of each file of its model."""
    rows = session.execute(
        select(Shard.job_id, Model.artifacts)
        .outerjoin(Model, Model.job_id == Shard.job_id)
        .where(Shard.id == shard_id)
    )
    return {job_id: set((artifacts or {}).values()) for job_id, artifacts in rows}


def _write(session: Session, fence: Fence, **values: Any) -> bool:
    written = update(Shard).where(fence.holds()).values(**values).returning(Shard.id)
    return session.scalar(written) is not None


def _running(session: Session, which: ColumnElement[bool]) -> list[Fence]:
    owner = func.coalesce(Shard.owner, "")
    rows = session.execute(
        select(Shard.id, Shard.attempt, owner).where(Shard.state == State.RUNNING, which)
    )
    return [Fence(*row) for row in rows]
