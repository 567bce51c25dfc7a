"""Queries about sweeps and their trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session, defer, load_only

from app.errors import NotFound
from app.http.paging import PageQuery
from app.http.parameters import LATEST
from app.jobs.repository import JobRow, with_shards
from app.storage.tables import Job, Shard, State, Trial
from models.spec.sweep import MOST_TRIALS

# Of the leaderboard; a spec takes kilobytes, and a trial's own page shows it.
WITHOUT_SPEC = defer(Trial.spec)


@dataclass(frozen=True)
class Count:
    """Trials of a sweep, in one batch and one state."""

    shard: int
    state: State
    trials: int


def get(session: Session, tenant: str, sweep_id: str) -> JobRow:
    """A sweep by its id, or the newest for `latest`; raises NotFound."""
    query = select(Job).where(Job.tenant == tenant, Job.sweep.is_not(None))
    if sweep_id == LATEST:
        job = session.scalar(query.order_by(Job.id.desc()).limit(1))
        if job is None:
            raise NotFound("There is no sweep yet. Submit one with POST /v1/sweeps.")
    else:
        job = session.scalar(query.where(Job.id == sweep_id))
        if job is None:
            raise NotFound(f"There is no sweep {sweep_id}.")
    [row] = with_shards(session, [job])
    return row


def page(session: Session, tenant: str, query: PageQuery) -> Sequence[JobRow]:
    sweeps = select(Job).where(Job.tenant == tenant, Job.sweep.is_not(None))
    return with_shards(session, session.scalars(query.apply(sweeps, Job.id)).all())


def counts(session: Session, sweep_ids: Sequence[str]) -> dict[str, list[Count]]:
    found: dict[str, list[Count]] = {sweep_id: [] for sweep_id in sweep_ids}
    rows: Sequence[Row[str, int, State, int]] = session.execute(
        select(Trial.job_id, Trial.shard, Trial.state, func.count())
        .where(Trial.job_id.in_(sweep_ids))
        .group_by(Trial.job_id, Trial.shard, Trial.state)
    ).all()
    for job_id, shard, state, trials in rows:
        found[job_id].append(Count(shard, state, trials))
    return found


def best(session: Session, perfect: Mapping[str, float]) -> dict[str, Trial]:
    """Of each sweep that has one, the trial whose value is nearest to perfect; of equal ones the
    first. `perfect`: by the sweep's id."""
    found: dict[str, Trial] = {}
    for value in set(perfect.values()):  # one query for each, of which metrics have two
        ids = [sweep_id for sweep_id, own in perfect.items() if own == value]
        turn = func.row_number().over(
            partition_by=Trial.job_id, order_by=[func.abs(Trial.value - value), Trial.number]
        )
        ranked = (
            select(Trial.job_id, Trial.number, turn.label("turn"))
            .where(Trial.job_id.in_(ids), Trial.value.is_not(None))
            .subquery()
        )
        first = (Trial.job_id == ranked.c.job_id) & (Trial.number == ranked.c.number)
        query = select(Trial).join(ranked, first).where(ranked.c.turn == 1).options(WITHOUT_SPEC)
        found |= {trial.job_id: trial for trial in session.scalars(query)}
    return found


def trials(session: Session, sweep_id: str) -> Sequence[Trial]:
    """All that have been drawn, by number, without their specs."""
    return session.scalars(
        select(Trial).where(Trial.job_id == sweep_id).options(WITHOUT_SPEC).order_by(Trial.number)
    ).all()


def scored(session: Session, sweep_id: str) -> Sequence[Trial]:
    """Those with a value, by number: only their points and values."""
    return session.scalars(
        select(Trial)
        .where(Trial.job_id == sweep_id, Trial.value.is_not(None))
        .options(load_only(Trial.job_id, Trial.number, Trial.point, Trial.value))
        .order_by(Trial.number)
    ).all()


def trial(session: Session, sweep_id: str, number: int) -> Trial:
    """Raises NotFound."""
    # A database does not take every number.
    is_possible = 0 <= number < MOST_TRIALS
    found = session.get(Trial, (sweep_id, number)) if is_possible else None
    if found is None:
        raise NotFound(f"The sweep {sweep_id} has no trial {number}, or has not drawn it yet.")
    return found


def running_shards(session: Session, sweep_id: str) -> set[int]:
    """The places of the batches that are being trained."""
    running = select(Shard.place).where(Shard.job_id == sweep_id, Shard.state == State.RUNNING)
    return {*session.scalars(running)}
