"""Queries about datasets."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import case, select
from sqlalchemy.orm import Session, defer

from app.errors import NotFound
from app.http.paging import PageQuery
from app.http.parameters import LATEST
from app.storage.tables import Dataset, Job


def get(session: Session, tenant: str, dataset_id: str, *, profile: bool = True) -> Dataset:
    """A dataset by id, or the one uploaded last for `latest`; raises NotFound.

    Loading it without its `profile` is much faster (`app.datasets.profiles`).
    """
    query = select(Dataset).where(Dataset.tenant == tenant)
    if not profile:
        query = query.options(defer(Dataset.profile, raiseload=True))
    if dataset_id == LATEST:
        newest = query.order_by(Dataset.uploaded_at.desc(), Dataset.id.desc()).limit(1)
        dataset = session.scalar(newest)
        if dataset is None:
            raise NotFound("There is no dataset yet. Upload one with POST /v1/datasets.")
        return dataset
    dataset = session.scalar(query.where(Dataset.id == dataset_id))
    if dataset is None:
        raise NotFound(f"There is no dataset {dataset_id}.")
    return dataset


def by_content(session: Session, tenant: str, sha256: str, marks: str) -> Dataset | None:
    """The dataset of these bytes, uploaded with these marks."""
    datasets = select(Dataset).where(Dataset.tenant == tenant, Dataset.sha256 == sha256)
    return session.scalar(datasets.where(Dataset.marks == marks))


def page(session: Session, tenant: str, query: PageQuery) -> Sequence[Dataset]:
    """A page of datasets without their profiles, which can be megabytes each."""
    datasets = select(Dataset).where(Dataset.tenant == tenant)
    datasets = datasets.options(defer(Dataset.profile, raiseload=True))
    return session.scalars(query.apply(datasets, Dataset.id)).all()


def jobs_on(session: Session, dataset_id: str, limit: int) -> Sequence[str]:
    """Ids of jobs that refer to a dataset, newest first."""
    return session.scalars(
        select(Job.id).where(Job.dataset_id == dataset_id).order_by(Job.id.desc()).limit(limit)
    ).all()


def newest_of(session: Session, tenant: str, sha256: str, parquet_sha256: str) -> str | None:
    """The id of the dataset of these bytes, the newest of those that were read alike if any was."""
    alike = case((Dataset.parquet_sha256 == parquet_sha256, 0), else_=1)
    found = select(Dataset.id).where(Dataset.tenant == tenant, Dataset.sha256 == sha256)
    return session.scalar(found.order_by(alike, Dataset.uploaded_at.desc()).limit(1))
