"""Queries about jobs. Their state changes in `app.jobs.lifecycle` alone."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row, Select, bindparam, func, select, tuple_
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.http.paging import PageQuery
from app.http.parameters import LATEST
from app.storage.tables import EpochMetric, Job, Model, Shard, State

JobRow = Row[Job, Shard]

# What each submit and each poll asks is put together once.
JOBS = select(Job, Shard).join(Shard, Shard.job_id == Job.id)
QUEUED = select(func.count()).where(Job.tenant == bindparam("tenant"), Job.status == State.QUEUED)


def get(session: Session, tenant: str, job_id: str) -> JobRow:
    """A job and its shard by the job's id, or the newest for `latest`; raises NotFound."""
    query = _jobs(tenant)
    if job_id == LATEST:
        row = session.execute(query.order_by(Job.id.desc()).limit(1)).one_or_none()
        if row is None:
            raise NotFound("There is no job yet: submit one with POST /v1/jobs.")
        return row
    row = session.execute(query.where(Job.id == job_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id}.")
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
    return session.execute(query.apply(jobs, Job.id)).all()


def count_queued(session: Session, tenant: str) -> int:
    return session.connection().scalar(QUEUED, {"tenant": tenant}) or 0


def epochs(
    session: Session, job_id: str, after: tuple[int, int], limit: int
) -> Sequence[EpochMetric]:
    """Epochs of a job in the order of fold and epoch, from the one after (fold, epoch) on."""
    return session.scalars(
        select(EpochMetric)
        .where(
            EpochMetric.job_id == job_id,
            tuple_(EpochMetric.fold, EpochMetric.epoch) > after,
        )
        .order_by(EpochMetric.fold, EpochMetric.epoch)
        .limit(limit)
    ).all()


def model_of(session: Session, job_id: str) -> Model | None:
    return session.scalar(select(Model).where(Model.job_id == job_id))


def _jobs(tenant: str) -> Select[Job, Shard]:
    return JOBS.where(Job.tenant == tenant)
