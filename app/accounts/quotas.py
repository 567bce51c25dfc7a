"""What a tenant may use, and what it uses of it.

Whatever creates something that a quota counts does so in one transaction: it locks the tenant's
row, counts, and inserts. So concurrent requests cannot exceed a quota together. The row is locked
before all others, so that no two transactions wait for each other. On SQLite a writer is alone
anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from app.errors import OverQuota, OverStorageQuota, TooManyQueued
from app.settings import Settings
from app.storage.database import database_now, upsert
from app.storage.tables import Dataset, EndedAttempt, Job, Quota, Shard, State

DAY = 24 * 3600.0  # s


@dataclass(frozen=True)
class Limits:
    """The most that a tenant may use; None for no limit."""

    stored_bytes: int | None = None
    datasets: int | None = None
    queued_jobs: int | None = None
    running_jobs: int | None = None
    device_seconds_per_day: int | None = None
    predicted_rows_per_minute: int | None = None


NO_LIMITS = Limits()
NAMES = tuple(field.name for field in fields(Limits))


class Held(NamedTuple):
    """Tenants that may begin no further job, and those that may begin no attempt at all."""

    of_jobs: Sequence[str]
    of_attempts: Sequence[str]


def defaults(settings: Settings) -> Limits:
    """Those of a tenant without its own."""
    return Limits(**{name: getattr(settings, f"max_{name}") or None for name in NAMES})


def limits(session: Session, tenant: str, default: Limits) -> Limits:
    return _own_or(default, session.get(Quota, tenant))


def lock(session: Session, tenant: str, default: Limits) -> Limits:
    """The same under a lock of the tenant's row, so that what is counted stays true until this
    transaction ends."""
    row = session.get(Quota, tenant, with_for_update=True, populate_existing=True)
    if row is None:  # rows are never deleted, so it is found now
        session.execute(upsert(session, Quota).values(tenant=tenant).on_conflict_do_nothing())
        row = session.get_one(Quota, tenant, with_for_update=True)
    return _own_or(default, row)


def own(session: Session, tenant: str) -> dict[str, int | None]:
    """What the operator has set for a tenant; None where the default holds."""
    row = session.get(Quota, tenant)
    return {name: None if row is None else getattr(row, name) for name in NAMES}


def set_own(session: Session, tenant: str, values: dict[str, int | None]) -> None:
    lock(session, tenant, NO_LIMITS)
    row = session.get_one(Quota, tenant)
    for name in NAMES:
        setattr(row, name, values.get(name))
    session.flush()


def tenants_with_own(session: Session) -> Sequence[str]:
    is_set = or_(*(getattr(Quota, name).is_not(None) for name in NAMES))
    return session.scalars(select(Quota.tenant).where(is_set).order_by(Quota.tenant)).all()


def used(session: Session, tenant: str) -> dict[str, float]:
    """What the database knows of: all but predicted rows."""
    return {
        "stored_bytes": stored_bytes(session, tenant),
        "datasets": _count(session, Dataset.tenant == tenant),
        "queued_jobs": queued_jobs(session, tenant),
        "running_jobs": _running_jobs(session, Shard.tenant == tenant).get(tenant, 0),
        "device_seconds_per_day": device_seconds(session, tenant),
    }


def stored_bytes(session: Session, tenant: str) -> int:
    """Of the tables, as they were uploaded."""
    total = session.scalar(select(func.sum(Dataset.bytes)).where(Dataset.tenant == tenant))
    return int(total or 0)


def queued_jobs(session: Session, tenant: str) -> int:
    """With sweeps."""
    return _count(session, Job.tenant == tenant, Job.status == State.QUEUED)


def device_seconds(session: Session, tenant: str) -> float:
    """Of the attempts that ended in the last 24 hours, and of those that run."""
    return _device_seconds(session, tenant).get(tenant, 0.0)


def require_dataset(
    session: Session, tenant: str, allowed: Limits, *, more: int = 0, more_bytes: int = 0
) -> None:
    """Check the datasets of a tenant, with `more` that are still to come.

    Raises
    ------
    OverQuota, OverStorageQuota
    """
    if allowed.datasets is not None:
        count = _count(session, Dataset.tenant == tenant) + more
        if count > allowed.datasets:
            raise OverQuota(
                f"The tenant {tenant} may have {allowed.datasets:,} datasets (quota `datasets`). "
                "Delete some."
            )
    if allowed.stored_bytes is not None:
        total = stored_bytes(session, tenant) + more_bytes
        if total > allowed.stored_bytes:
            raise OverStorageQuota(
                f"With this table the tenant {tenant} would have {total:,} bytes of tables, and "
                f"its quota `stored_bytes` is {allowed.stored_bytes:,}. Delete some datasets."
            )


def require_place(session: Session, tenant: str, allowed: Limits, waiting: int) -> None:
    """Check whether a further job may wait beside `waiting`.

    Raises
    ------
    TooManyQueued
    OverQuota: the tenant has used the device for too long today.
    """
    if allowed.queued_jobs is not None and waiting >= allowed.queued_jobs:
        raise TooManyQueued(
            f"{waiting} jobs of the tenant {tenant} are waiting, and its quota `queued_jobs` is "
            f"{allowed.queued_jobs}. Submit again when some have started, or cancel some."
        )
    if _is_spent(session, tenant, allowed):
        raise OverQuota(
            f"The tenant {tenant} has trained for {device_seconds(session, tenant):,.0f} seconds "
            "in the last 24 hours, and its quota `device_seconds_per_day` is "
            f"{allowed.device_seconds_per_day:,}. Submit again later."
        )


def may_begin(session: Session, tenant: str, allowed: Limits, job_id: str) -> bool:
    """Whether an attempt of the job may begin. A job that runs may have further attempts."""
    if _is_spent(session, tenant, allowed):
        return False
    if allowed.running_jobs is None:
        return True
    others = _running_jobs(session, Shard.tenant == tenant, Shard.job_id != job_id)
    return others.get(tenant, 0) < allowed.running_jobs


def held(session: Session, default: Limits) -> Held:
    """The tenants of which nothing may begin now; `may_begin` decides once more."""
    own_of = {row.tenant: row for row in session.scalars(select(Quota))}
    known = {tenant: _own_or(default, row) for tenant, row in own_of.items()}

    def full(name: str, used_of: dict[str, Any]) -> list[str]:
        found = {tenant: getattr(known.get(tenant, default), name) for tenant in used_of}
        return [
            tenant for tenant, most in found.items() if most is not None and used_of[tenant] >= most
        ]

    def is_limited(name: str) -> bool:
        return any(getattr(one, name) is not None for one in (default, *known.values()))

    jobs = _running_jobs(session) if is_limited("running_jobs") else {}
    seconds = _device_seconds(session) if is_limited("device_seconds_per_day") else {}
    return Held(full("running_jobs", jobs), full("device_seconds_per_day", seconds))


def note_attempt(session: Session, shard: Shard) -> None:
    """Count the seconds of a running attempt, which ends now."""
    now = session.scalar(select(database_now()))
    assert now is not None
    began = shard.claimed_at or now  # an earlier version did not store it
    seconds = max((now - began).total_seconds(), 0.0)
    session.add(EndedAttempt(tenant=shard.tenant, seconds=seconds))


def _own_or(default: Limits, row: Quota | None) -> Limits:
    if row is None:
        return default
    found = {name: getattr(row, name) for name in NAMES}
    return Limits(
        **{
            name: most if found[name] is None else found[name] or None
            for name, most in asdict(default).items()
        }
    )


def _is_spent(session: Session, tenant: str, allowed: Limits) -> bool:
    most = allowed.device_seconds_per_day
    return most is not None and device_seconds(session, tenant) >= most


def _running_jobs(session: Session, *which: ColumnElement[bool]) -> dict[str, int]:
    """By tenant. A job runs while one of its shards does, and those are found by an index."""
    running = (
        select(Shard.tenant, func.count(Shard.job_id.distinct()).label("jobs"))
        .where(Shard.state == State.RUNNING, *which)
        .group_by(Shard.tenant)
    )
    return {row.tenant: row.jobs for row in session.execute(running)}


def _device_seconds(session: Session, of: str | None = None) -> dict[str, float]:
    """By tenant, of one or all."""
    ended = (
        select(EndedAttempt.tenant, func.sum(EndedAttempt.seconds).label("seconds"))
        .where(EndedAttempt.ended_at > database_now(-DAY))
        .group_by(EndedAttempt.tenant)
    )
    running = select(Shard.tenant, Shard.claimed_at, database_now()).where(
        Shard.state == State.RUNNING
    )
    if of is not None:
        ended = ended.where(EndedAttempt.tenant == of)
        running = running.where(Shard.tenant == of)
    found = {row.tenant: row.seconds for row in session.execute(ended)}
    for tenant, began, now in session.execute(running):
        if began is not None:
            found[tenant] = found.get(tenant, 0.0) + max((now - began).total_seconds(), 0.0)
    return found


def _count(session: Session, *which: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).where(*which)) or 0
