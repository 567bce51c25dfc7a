"""Queries about jobs. Only `app.jobs.lifecycle` changes their state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Select, bindparam, func, select, tuple_
from sqlalchemy.orm import Session, load_only

from app.errors import NotFound
from app.http.paging import PageQuery
from app.http.parameters import LATEST
from app.storage.tables import EpochMetric, Job, Model, Shard, State

# The queries of each submit and each poll, built once.
SHARDS = (
    select(Shard)
    # Each shard of a large job has a spec and a result, which are not needed here.
    .options(
        load_only(
            Shard.job_id,
            Shard.place,
            Shard.kind,
            Shard.state,
            Shard.attempt,
            Shard.max_attempts,
            Shard.progress,
        )
    )
    .where(Shard.job_id.in_(bindparam("jobs", expanding=True)))
    .order_by(Shard.job_id, Shard.place)
)


class JobRow(NamedTuple):
    """A job and its shards by place, loaded only with their state and progress."""

    job: Job
    shards: Sequence[Shard]


def get(session: Session, tenant: str, job_id: str) -> JobRow:
    """A job by its id, or the newest for `latest`; raises NotFound."""
    query = _jobs(tenant)
    if job_id == LATEST:
        job = session.scalar(query.order_by(Job.id.desc()).limit(1))
        if job is None:
            raise NotFound("There is no job yet. Submit one with POST /v1/jobs.")
    else:
        job = session.scalar(query.where(Job.id == job_id))
        if job is None:
            raise NotFound(f"There is no job {job_id}.")
    [row] = with_shards(session, [job])
    return row


def page(
    session: Session,
    tenant: str,
    query: PageQuery,
    *,
    status: State | None,
    dataset_id: str | None,
) -> Sequence[JobRow]:
    jobs = _jobs(tenant)
    if status is not None:
        jobs = jobs.where(Job.status == status)
    if dataset_id is not None:
        jobs = jobs.where(Job.dataset_id == dataset_id)
    return with_shards(session, session.scalars(query.apply(jobs, Job.id)).all())


def count_ahead(session: Session, tenant: str, job_id: str) -> int:
    """The tenant's queued jobs that are older. One that is retried may start after a newer one."""
    older = Job.id < job_id  # ids begin with their time
    queued = select(func.count()).where(Job.tenant == tenant, Job.status == State.QUEUED, older)
    return session.scalar(queued) or 0


def epochs(
    session: Session, job_id: str, after: tuple[int, int, int], limit: int
) -> Sequence[EpochMetric]:
    """Epochs of a job in the order of shard, fold and epoch, starting after the one given."""
    return session.scalars(
        select(EpochMetric)
        .where(
            EpochMetric.job_id == job_id,
            tuple_(EpochMetric.shard, EpochMetric.fold, EpochMetric.epoch) > after,
        )
        .order_by(EpochMetric.shard, EpochMetric.fold, EpochMetric.epoch)
        .limit(limit)
    ).all()


def models_of(session: Session, job_id: str) -> Sequence[Model]:
    """The models of a job's shards that succeeded and were not deleted; oldest first."""
    return session.scalars(select(Model).where(Model.job_id == job_id).order_by(Model.id)).all()


def _jobs(tenant: str) -> Select[Job]:
    return select(Job).where(Job.tenant == tenant, Job.sweep.is_(None))


def with_shards(session: Session, jobs: Sequence[Job]) -> list[JobRow]:
    shards: dict[str, list[Shard]] = {job.id: [] for job in jobs}
    for shard in session.scalars(SHARDS, {"jobs": list(shards)}):
        shards[shard.job_id].append(shard)
    return [JobRow(job, shards[job.id]) for job in jobs]
