"""Finds what holds a value, and what learnt from it. The value goes into no log and no row."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.datasets import repository as datasets
from app.datasets.profiles import Profiles
from app.erasure.schemas import (
    MOST_JOBS,
    MOST_ROWS,
    DatasetTrace,
    JobTrace,
    ModelTrace,
    Sought,
    TracesOut,
)
from app.errors import NotFound
from app.http.paging import PageQuery
from app.registry import repository as models
from app.resources import Resources
from app.storage.tables import Dataset, Job, Model
from models.tables.profile import ColumnProfile
from models.tables.search import rows_with
from models.tables.stored import TableDamaged

PATIENCE = 10.0  # s, after which no further dataset is begun


def find(resources: Resources, tenant: str, sought: Sought, query: PageQuery) -> TracesOut:
    """Look through a page of datasets, or as many of them as there is time for."""
    with resources.database.reading() as session:
        rows = datasets.page(session, tenant, query)
    give_up = time.monotonic() + PATIENCE
    found: list[DatasetTrace] = []
    unread: list[str] = []
    examined = 0
    for dataset in rows[: query.limit]:
        if examined and time.monotonic() > give_up:
            break
        examined += 1
        try:
            trace = _trace(resources, dataset, sought)
        except (TableDamaged, FileNotFoundError):
            unread.append(dataset.id)
        else:
            found += [trace] if trace else []
    with resources.database.reading() as session:
        _add_jobs(session, tenant, found)
    has_more = examined < len(rows)
    return TracesOut(
        data=found,
        examined=examined,
        unread=unread,
        has_more=has_more,
        next=rows[examined - 1].id if has_more else None,
    )


def _trace(resources: Resources, dataset: Dataset, sought: Sought) -> DatasetTrace | None:
    """A dataset with the value, still without jobs; raises TableDamaged and FileNotFoundError."""
    column = _column(resources, dataset.id, sought.column)
    if column is None:
        return None
    with resources.blobs.open(dataset.parquet) as file:
        rows = rows_with(file, column, sought.value)
        first = [*islice(rows, MOST_ROWS)]
        count = len(first) + sum(1 for _ in rows)
    if not count:
        return None
    return DatasetTrace(
        id=dataset.id, name=dataset.name, rows=count, first_rows=first, jobs=[], jobs_total=0
    )


def _column(resources: Resources, dataset_id: str, name: str) -> ColumnProfile | None:
    """None if the dataset lacks it, or was deleted just now."""
    try:
        with resources.database.reading() as session:
            profile = resources[Profiles].get(session, dataset_id)
    except NotFound:
        return None
    return next((column for column in profile.columns if column.name == name), None)


def _add_jobs(session: Session, tenant: str, traces: list[DatasetTrace]) -> None:
    started = _started(session, tenant) if traces else {}
    for trace in traces:
        on_it = select(Job.id).where(Job.tenant == tenant, Job.dataset_id == trace.id)
        learnt = {*session.scalars(on_it)}
        waiting = [*learnt]
        while waiting:
            new = started.get(waiting.pop(), set()) - learnt
            learnt |= new
            waiting += new
        trace.jobs_total = len(learnt)
        trace.jobs = [*_with_models(session, sorted(learnt, reverse=True)[:MOST_JOBS])]


def _started(session: Session, tenant: str) -> dict[str, set[str]]:
    """By job, the jobs that started from a model of it."""
    model_id = Job.spec["initialize_from"].as_string()
    starts = select(Model.job_id, Job.id).join(Job, model_id == Model.id)
    found: dict[str, set[str]] = {}
    for first, then in session.execute(starts.where(Job.tenant == tenant)):
        found.setdefault(first, set()).add(then)
    return found


def _with_models(session: Session, job_ids: list[str]) -> Iterator[JobTrace]:
    made = session.execute(select(Model.id, Model.job_id).where(Model.job_id.in_(job_ids))).all()
    aliases = models.alias_names(session, [model_id for model_id, _ in made])
    for job_id in job_ids:
        own = [model_id for model_id, of in made if of == job_id]
        yield JobTrace(
            id=job_id, models=[ModelTrace(id=one, aliases=aliases.get(one, [])) for one in own]
        )
