"""Runs of lessons: queued by a request, carried out by a worker, kept for a while.

A run takes seconds and is the same whenever it is repeated. So one whose worker died simply runs
again, and nothing of it is stored before its outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.orm import Session

from app.errors import NotFound, TooManyQueued
from app.http.parameters import LATEST
from app.ids import new_id
from app.storage.database import database_now
from app.storage.tables import FINISHED, LessonRun, State
from lessons.catalogue import lessons

LEASE = 30.0  # seconds
MAX_ATTEMPTS = 3
MAX_WAITING = 20  # runs of a tenant
KEPT = 100  # finished runs of a tenant
WORKER_DIED = "Its workers died while they ran it. Their log may say why."


WAITS = LessonRun.state == State.QUEUED


class Claim(NamedTuple):
    """An attempt at a run; in the run's row while the attempt owns it."""

    run_id: str
    attempt: int
    owner: str
    lesson: str


def begin(session: Session, tenant: str, lesson: str) -> LessonRun:
    """Queue a run, and forget the tenant's oldest ones.

    Raises
    ------
    NotFound: there is no such lesson.
    TooManyQueued
    """
    if lesson not in {known.name for known in lessons()}:
        raise NotFound(f"There is no lesson {lesson}. GET /v1/lessons lists them.")
    own = LessonRun.tenant == tenant
    waiting = session.scalar(
        select(func.count()).where(own, LessonRun.state.not_in(FINISHED)).select_from(LessonRun)
    )
    if (waiting or 0) >= MAX_WAITING:
        raise TooManyQueued(f"{waiting} lessons are waiting, and no more may. Try again later.")
    finished = select(LessonRun.id).where(own, LessonRun.state.in_(FINISHED))
    old: Sequence[str] = session.scalars(finished.order_by(LessonRun.id.desc()).offset(KEPT)).all()
    session.execute(delete(LessonRun).where(LessonRun.id.in_(old)))
    run = LessonRun(id=new_id("les"), tenant=tenant, lesson=lesson, state=State.QUEUED)
    session.add(run)
    session.flush()
    return run


def get(session: Session, tenant: str, run_id: str) -> LessonRun:
    """A run by its id, or the newest for `latest`; raises NotFound."""
    query = select(LessonRun).where(LessonRun.tenant == tenant)
    if run_id == LATEST:
        run = session.scalar(query.order_by(LessonRun.id.desc()).limit(1))
    else:
        run = session.scalar(query.where(LessonRun.id == run_id))
    if run is None:
        raise NotFound(f"There is no run {run_id} of a lesson.")
    return run


def is_waiting(session: Session) -> bool:
    """Whether `claim` has something to do. It only reads: a claim takes the write lock."""
    return session.scalar(select(LessonRun.id).where(or_(WAITS, _is_lost())).limit(1)) is not None


def claim(session: Session, owner: str) -> Claim | None:
    """Take the oldest run that waits, or whose worker's lease has expired; None if there is none.
    One that took too many attempts fails instead."""
    is_lost = _is_lost()
    session.execute(
        update(LessonRun)
        .where(is_lost, LessonRun.attempt >= MAX_ATTEMPTS)
        .values(state=State.FAILED, error=WORKER_DIED)
    )
    is_free = or_(WAITS, is_lost)
    oldest = select(LessonRun.id).where(is_free).order_by(LessonRun.id).limit(1)
    taken = session.execute(
        update(LessonRun)
        .where(LessonRun.id == oldest.scalar_subquery(), is_free)
        .values(
            state=State.RUNNING,
            attempt=LessonRun.attempt + 1,
            owner=owner,
            lease_until=database_now(LEASE),
        )
        .returning(LessonRun.id, LessonRun.attempt, LessonRun.lesson)
    ).one_or_none()
    return None if taken is None else Claim(taken.id, taken.attempt, owner, taken.lesson)


def renew(session: Session, mine: Claim) -> bool:
    """Extend the lease; False if the run is no longer this attempt's."""
    return _write(session, mine, lease_until=database_now(LEASE))


def release(session: Session, mine: Claim) -> bool:
    """Let another worker run it; the attempt does not count."""
    return _write(session, mine, state=State.QUEUED, attempt=mine.attempt - 1)


def succeed(session: Session, mine: Claim, outcome: dict[str, Any]) -> bool:
    return _write(session, mine, state=State.SUCCEEDED, outcome=outcome)


def fail(session: Session, mine: Claim, error: str) -> bool:
    return _write(session, mine, state=State.FAILED, error=error)


def _is_lost() -> ColumnElement[bool]:
    """Its worker has not renewed the lease."""
    return (LessonRun.state == State.RUNNING) & (LessonRun.lease_until < database_now())


def _write(session: Session, mine: Claim, **values: Any) -> bool:
    """Write if the run is still this attempt's."""
    own = (
        (LessonRun.id == mine.run_id)
        & (LessonRun.attempt == mine.attempt)
        & (LessonRun.owner == mine.owner)
        & (LessonRun.state == State.RUNNING)
    )
    written = update(LessonRun).where(own).values(**values).returning(LessonRun.id)
    return session.scalar(written) is not None
