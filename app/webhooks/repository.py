"""Queries about webhooks."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.http.parameters import LATEST
from app.storage.tables import Webhook, WebhookDelivery


def get(session: Session, tenant: str, webhook_id: str) -> Webhook:
    """A webhook by its id, or the newest for `latest`; raises NotFound."""
    query = _webhooks(tenant)
    if webhook_id == LATEST:
        query = query.order_by(Webhook.id.desc()).limit(1)
    else:
        query = query.where(Webhook.id == webhook_id)
    webhook = session.scalar(query)
    if webhook is None:
        raise NotFound(f"There is no webhook {webhook_id}. Create one with POST /v1/webhooks.")
    return webhook


def listed(session: Session, tenant: str) -> Sequence[Webhook]:
    """Oldest first."""
    return session.scalars(_webhooks(tenant).order_by(Webhook.id)).all()


def remove(session: Session, webhook: Webhook) -> None:
    """With what is still to be delivered to it."""
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook.id))
    session.delete(webhook)


def _webhooks(tenant: str) -> Select[Webhook]:
    return select(Webhook).where(Webhook.tenant == tenant)
