"""Deletes a job's rows, and the files of deleted rows. The transaction that deletes rows records
their folders, which are removed after it. After a crash in between, the next round removes them."""

from __future__ import annotations

import logging

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.storage.blobs import Blobs
from app.storage.database import Database
from app.storage.tables import EpochMetric, Event, Job, Removal, Shard, Trial

logger = logging.getLogger(__name__)


def delete_job(session: Session, job: Job) -> None:
    """Delete a job with all rows that refer to it, except its model."""
    for table in (Event, EpochMetric, Trial, Shard):
        session.execute(delete(table).where(table.job_id == job.id))
    session.delete(job)


def write_down(session: Session, *folders: str) -> None:
    """Record the folders of what this transaction deletes."""
    for folder in folders:
        session.merge(Removal(folder=folder))


def carry_out(database: Database, blobs: Blobs) -> None:
    """Remove all recorded folders; safe in several processes at a time."""
    with database.reading() as session:
        folders = session.scalars(select(Removal.folder)).all()
    removed = []
    for folder in folders:
        try:
            blobs.delete(folder)
        except Exception as error:  # every storage raises its own
            logger.warning("%s could not be removed, will try again: %s", folder, error)
        else:
            removed.append(folder)
    if removed:
        with database.writing() as session:
            session.execute(delete(Removal).where(Removal.folder.in_(removed)))
