"""Deletes jobs that ended long ago."""

from __future__ import annotations

import logging

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from app.errors import Conflict
from app.jobs import repository, service
from app.storage.database import Database, database_now
from app.storage.tables import FINISHED, Alias, Job, Model

logger = logging.getLogger(__name__)

DAY = 24 * 3600.0  # s
IN_A_ROUND = 1_000  # jobs; the next round takes the next


def delete_old_jobs(database: Database, days: int) -> None:
    """Delete jobs and sweeps that ended more than `days` ago, 0 for none, each in a transaction;
    their files go with the next sweep. One stays while an alias points at a model of it, or a job
    that has not finished starts from one."""
    if not days:
        return
    starting = aliased(Job)
    starts = starting.spec["initialize_from"].as_string()
    named = select(Model.job_id).join(Alias, Alias.model_id == Model.id)
    needed = select(Model.job_id).join(starting, starts == Model.id)
    old = (
        select(Job.id)
        .where(
            Job.finished_at < database_now(-days * DAY),
            Job.id.not_in(named),
            Job.id.not_in(needed.where(starting.status.not_in(FINISHED))),
        )
        .order_by(Job.id)
        .limit(IN_A_ROUND)
    )
    with database.reading() as session:
        found = session.scalars(old).all()
    for job_id in found:
        try:
            if _delete(database, job_id):
                logger.info("%s ended more than %d days ago and is deleted", job_id, days)
        except (Conflict, IntegrityError):  # it has got an alias since
            continue


def _delete(database: Database, job_id: str) -> bool:
    """False if another worker does, or did. Raises Conflict and IntegrityError."""
    with database.writing() as session:
        job = session.get(Job, job_id, with_for_update={"skip_locked": True})
        if job is None:
            return False
        [row] = repository.with_shards(session, [job])
        service.delete_row(session, job.tenant, row)
        return True
