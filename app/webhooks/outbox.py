"""Messages to webhooks, written in the transaction that makes them true.

Workers claim the messages that are due, send them and record the outcome. A claim moves the time of
the next attempt, so a message whose worker dies is sent again: receivers may get it twice, under
the same id.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import exists, func, insert, select, update
from sqlalchemy.orm import Session

from app.ids import new_id
from app.storage.database import database_now
from app.storage.tables import Job, Webhook, WebhookDelivery

logger = logging.getLogger(__name__)

PREFIX = "whsec_"  # of a secret; the rest is base64
LEASE = 60.0  # s that an attempt has until another worker makes the next
# Seconds after the first attempt, the second, and so on; then the message is dropped:
# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
BACKOFF = (5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
LONGEST_ERROR = 255  # characters


@dataclass(frozen=True)
class Attempt:
    """What a worker needs to send a message. `number` counts from 1."""

    delivery_id: str
    number: int
    url: str
    secret: str
    payload: dict[str, Any]


def announce(session: Session, job: Job) -> None:
    """Add a message about a finished job, or sweep, for each webhook that wants it."""
    noun = "job" if job.sweep is None else "sweep"
    kind = f"{noun}.{job.status}"
    webhooks = session.execute(
        select(Webhook.id, Webhook.events).where(Webhook.tenant == job.tenant)
    )
    wanted = [webhook_id for webhook_id, events in webhooks if kind in events]
    if not wanted:
        return
    result = job.result or {}
    payload = {
        "type": kind,
        "timestamp": datetime.now(UTC).isoformat(),
        "data": {
            "id": job.id,
            "name": job.name,
            "status": job.status,
            "dataset_id": job.dataset_id,
            "target": job.target,
            "model_id": result.get("model_id"),
            "metrics": result.get("metrics"),
            "error": job.error,
        },
    }
    of_each = {"tenant": job.tenant, "payload": payload}
    rows = [of_each | {"id": new_id("msg"), "webhook_id": webhook_id} for webhook_id in wanted]
    session.execute(insert(WebhookDelivery), rows)


def is_due(session: Session) -> bool:
    return session.scalar(select(exists().where(WebhookDelivery.due_at <= database_now()))) or False


def claim(session: Session, limit: int) -> list[Attempt]:
    """Begin an attempt of messages that are due: the longest waiting first, one of each webhook, so
    that a slow receiver with many does not keep the others waiting."""
    turn = func.row_number().over(
        partition_by=WebhookDelivery.webhook_id,
        order_by=[WebhookDelivery.due_at, WebhookDelivery.id],
    )
    is_due = WebhookDelivery.due_at <= database_now()
    in_turn = select(WebhookDelivery.id, WebhookDelivery.due_at, turn.label("turn")).where(is_due)
    first = in_turn.subquery()
    wanted = select(first.c.id).where(first.c.turn == 1).order_by(first.c.due_at).limit(limit)
    ids = session.scalars(wanted).all()
    # Of two workers, one gets the row.
    due = session.scalars(
        select(WebhookDelivery)
        .where(WebhookDelivery.id.in_(ids), is_due)
        .with_for_update(skip_locked=True)
    ).all()
    return [*_begun(session, due)]


def _begun(session: Session, due: Sequence[WebhookDelivery]) -> Iterator[Attempt]:
    for delivery in due:
        webhook = session.get(Webhook, delivery.webhook_id)
        if webhook is None:  # deleted since
            session.delete(delivery)
            continue
        delivery.attempt += 1
        delivery.due_at = database_now(LEASE)
        yield Attempt(delivery.id, delivery.attempt, webhook.url, webhook.secret, delivery.payload)


def record(session: Session, attempt: Attempt, error: str | None) -> None:
    """Note the outcome of an attempt, unless another one has begun since."""
    delivery = session.scalar(
        select(WebhookDelivery)
        .where(WebhookDelivery.id == attempt.delivery_id, WebhookDelivery.attempt == attempt.number)
        .with_for_update()
    )
    if delivery is None:
        return
    webhook = session.get(Webhook, delivery.webhook_id)
    if webhook is not None:
        webhook.error = error and error[:LONGEST_ERROR]
        if error is None:
            webhook.delivered_at = database_now()
    if error is not None:
        _postpone(session, delivery.webhook_id)
    if error is not None and attempt.number <= len(BACKOFF):
        delivery.due_at = database_now(BACKOFF[attempt.number - 1])
        return
    if error is not None:
        logger.warning(
            "message %s to webhook %s was dropped after %d attempts: %s",
            delivery.id,
            delivery.webhook_id,
            attempt.number,
            error,
        )
    session.delete(delivery)


def _postpone(session: Session, webhook_id: str) -> None:
    """Whatever else waits for a receiver that has failed."""
    soon = database_now(BACKOFF[0])
    session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.due_at < soon)
        .values(due_at=soon)
        .execution_options(synchronize_session=False)
    )
