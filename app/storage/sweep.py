"""Removes files that finished jobs and deleted rows have left in storage, and expired idempotency
keys, and attempts that no quota counts any more.

Only files that a row of this database names are touched. Others may belong to another installation,
or to a backup that is being restored.
"""

from __future__ import annotations

import logging

from sqlalchemy import delete, select

from app.storage import removals
from app.storage.blobs import ARTIFACTS, CHECKPOINTS, Blobs, artifacts_key, checkpoints_key
from app.storage.database import Database, database_now
from app.storage.tables import FINISHED, EndedAttempt, IdempotencyKey, Job, Model, Shard

logger = logging.getLogger(__name__)

INTERVAL = 3600.0  # s
KEY_LIFE = 7 * 24 * 3600.0  # s
ATTEMPT_LIFE = 24 * 3600.0  # s, for which `app.accounts.quotas` counts them


def sweep(database: Database, blobs: Blobs) -> None:
    """One round; safe while everything runs, and in several workers at a time."""
    removals.carry_out(database, blobs)
    artifacts, checkpoints = set(blobs.names(ARTIFACTS)), set(blobs.names(CHECKPOINTS))
    # One statement each, because a shard may finish between two.
    # The model of a sweep is made of the files of its batches.
    without_model = (
        select(Shard.id)
        .join(Job, Job.id == Shard.job_id)
        .outerjoin(Model, Model.shard_id == Shard.id)
        .where(Shard.state.in_(FINISHED), Job.status.in_(FINISHED), Model.id.is_(None))
    )
    # An earlier version kept a model's files under its job's id.
    jobs_without_model = (
        select(Job.id)
        .outerjoin(Model, (Model.job_id == Job.id) & Model.shard_id.is_(None))
        .where(Job.status.in_(FINISHED), Model.id.is_(None))
    )
    with database.reading() as session:
        folders = {*session.scalars(without_model), *session.scalars(jobs_without_model)}
        shards = set(session.scalars(select(Shard.id).where(Shard.state.in_(FINISHED))))
    for key in (
        *(artifacts_key(folder) for folder in artifacts & folders),
        *(checkpoints_key(shard_id) for shard_id in checkpoints & shards),
    ):
        logger.info("%s was left by a finished job and is removed", key)
        blobs.delete(key)
    with database.writing() as session:
        forgotten = IdempotencyKey.created_at < database_now(-KEY_LIFE)
        session.execute(delete(IdempotencyKey).where(forgotten))
        uncounted = EndedAttempt.ended_at < database_now(-ATTEMPT_LIFE)
        session.execute(delete(EndedAttempt).where(uncounted))
