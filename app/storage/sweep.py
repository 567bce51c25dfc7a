"""Removes from storage what no row names: what processes left that were killed at a bad moment."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select
from ulid import ULID

from app.storage.blobs import ARTIFACTS, DATASETS, Blobs, artifacts_key, dataset_key
from app.storage.database import Database, database_now
from app.storage.tables import FINISHED, Dataset, IdempotencyKey, Job, Model

logger = logging.getLogger(__name__)

INTERVAL = 3600.0  # s
# A dataset's files are there before its row.
UPLOAD_LIFE = timedelta(days=1)
KEY_LIFE = timedelta(days=7)


def sweep(database: Database, blobs: Blobs) -> None:
    """One round; safe while everything runs, and in several workers at a time."""
    # Storage is looked at first: what is named after that is not taken for garbage.
    datasets = [id_ for id_ in blobs.names(DATASETS) if _age(id_) > UPLOAD_LIFE]
    jobs = blobs.names(ARTIFACTS)
    with database.reading() as session:
        kept = set(session.scalars(select(Dataset.id)))
        kept |= set(session.scalars(select(Model.job_id)))
        kept |= set(session.scalars(select(Job.id).where(Job.status.not_in(FINISHED))))
    orphans = [dataset_key(id_) for id_ in datasets if id_ not in kept]
    orphans += [artifacts_key(id_) for id_ in jobs if id_ not in kept]
    for key in orphans:
        logger.warning("%s belongs to nothing and is removed", key)
        blobs.delete(key)
    with database.writing() as session:
        forgotten = IdempotencyKey.created_at < database_now(-KEY_LIFE.total_seconds())
        session.execute(delete(IdempotencyKey).where(forgotten))


def _age(dataset_id: str) -> timedelta:
    """By the time in the id; nothing is known of what has none."""
    try:
        created: datetime = ULID.from_str(dataset_id.removeprefix("ds_").upper()).datetime
    except ValueError:
        return timedelta(0)
    return datetime.now(UTC) - created
