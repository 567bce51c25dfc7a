"""Removes files that finished jobs and deleted rows have left in storage, and rows that have become
too old.

Only files that a row of this database names are touched. Others may belong to another installation,
or to a backup that is being restored.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select

from app.ids import id_of
from app.storage import removals
from app.storage.blobs import ARTIFACTS, CHECKPOINTS, Blobs, artifacts_key, checkpoints_key
from app.storage.database import Database, database_now
from app.storage.tables import (
    FINISHED,
    EndedAttempt,
    IdempotencyKey,
    Job,
    Model,
    ModelUsage,
    Shard,
    WebhookDelivery,
    WebSession,
)

logger = logging.getLogger(__name__)

INTERVAL = 3600.0  # s
KEY_LIFE = 7 * 24 * 3600.0  # s
ATTEMPT_LIFE = 24 * 3600.0  # s, for which `app.accounts.quotas` counts them
# A day of attempts is enough for a receiver that answers; one that is away for long, and no worker,
# would pile up messages for ever.
MESSAGE_LIFE = timedelta(days=7)


def sweep(database: Database, blobs: Blobs, usage_days: int = 0) -> None:
    """One round; safe while everything runs, and in several workers at a time. `usage_days`: how
    long the use of models is kept, 0 as long as they are."""
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
    _remove_old_rows(database)
    if usage_days:
        _remove_old_usage(database, usage_days)


def _remove_old_rows(database: Database) -> None:
    with database.writing() as session:
        for table, too_old in (
            (IdempotencyKey, IdempotencyKey.created_at < database_now(-KEY_LIFE)),
            (EndedAttempt, EndedAttempt.ended_at < database_now(-ATTEMPT_LIFE)),
            (WebSession, WebSession.expires_at <= database_now()),
            (WebhookDelivery, WebhookDelivery.id < id_of("msg", datetime.now(UTC) - MESSAGE_LIFE)),
        ):
            session.execute(delete(table).where(too_old))


def _remove_old_usage(database: Database, days: int) -> None:
    """A transaction for each model: its rows are found by their key, and are not many."""
    too_old = ModelUsage.day < datetime.now(UTC).date() - timedelta(days=days)
    with database.reading() as session:
        used = session.scalars(select(ModelUsage.model_id).where(too_old).distinct()).all()
    for model_id in used:
        with database.writing() as session:
            session.execute(delete(ModelUsage).where(ModelUsage.model_id == model_id, too_old))
