"""Deletes jobs that ended long ago."""

from __future__ import annotations

import logging

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from app.errors import Conflict, NotFound
from app.jobs import repository, service
from app.storage.database import Database, database_now
from app.storage.tables import FINISHED, Alias, AliasChange, Job, Model

logger = logging.getLogger(__name__)

DAY = 24 * 3600.0  # s
IN_A_ROUND = 1_000  # jobs; the next round takes the next


def delete_old_jobs(database: Database, days: int) -> None:
    """Delete jobs and sweeps that ended more than `days` ago, 0 for none, each in a transaction;
    their files go with the next sweep. One stays while an alias points at a model of it, or has in
    these days, for it may be rolled back, and while a job that has not finished starts from one."""
    if not days:
        return
    is_old = _is_old(days)
    with database.reading() as session:
        found = session.scalars(select(Job.id).where(is_old).order_by(Job.id).limit(IN_A_ROUND))
        job_ids = found.all()
    for job_id in job_ids:
        try:
            if _delete(database, job_id, is_old):
                logger.info("%s ended more than %d days ago and is deleted", job_id, days)
        except (Conflict, IntegrityError, NotFound):  # it, or a model of it, has changed since
            continue


def _is_old(days: int) -> ColumnElement[bool]:
    since = database_now(-days * DAY)
    of_model = select(Model.job_id)
    named = of_model.join(Alias, Alias.model_id == Model.id)
    left, change = aliased(AliasChange), aliased(AliasChange)
    recent = select(left.model_id).join(change, change.previous_id == left.id)
    was_named = of_model.where(
        Model.id.in_(recent.where(change.changed_at > since))
        | Model.id.in_(select(AliasChange.model_id).where(AliasChange.changed_at > since))
    )
    starting = aliased(Job)
    starts = starting.spec["initialize_from"].as_string()
    needed = of_model.join(starting, starts == Model.id).where(starting.status.not_in(FINISHED))
    return and_(
        Job.finished_at < since,
        Job.id.not_in(named),
        Job.id.not_in(was_named),
        Job.id.not_in(needed),
    )


def _delete(database: Database, job_id: str, is_old: ColumnElement[bool]) -> bool:
    """False if it is needed by now, or another worker deletes it, or did.

    Raises
    ------
    Conflict, IntegrityError, NotFound
    """
    with database.writing() as session:
        found = select(Job).where(Job.id == job_id, is_old)
        job = session.scalar(found.with_for_update(skip_locked=True, of=Job))
        if job is None:
            return False
        [row] = repository.with_shards(session, [job])
        service.delete_row(session, job.tenant, row)
        return True
