"""Creates webhooks."""

from __future__ import annotations

import httpx
from sqlalchemy.orm import Session

from app.errors import Conflict, Fault, Invalid
from app.ids import new_id
from app.storage import idempotency
from app.storage.tables import Webhook
from app.webhooks import addresses, repository
from app.webhooks.schemas import WebhookCreate
from app.webhooks.sending import PORTS, new_secret

MOST_WEBHOOKS = 10  # of one tenant
LARGEST_PORT = 65_535


def create(
    session: Session, tenant: str, body: WebhookCreate, key: str | None, *, allow_private: bool
) -> Webhook:
    """A new webhook, or the one that an idempotency key stands for.

    Raises
    ------
    Conflict, IdempotencyMismatch, Invalid, NotFound
    """
    _check(body.url, allow_private=allow_private)

    def insert() -> str:
        if len(repository.listed(session, tenant)) >= MOST_WEBHOOKS:
            raise Conflict(f"There are already {MOST_WEBHOOKS} webhooks. Delete one first.")
        webhook = Webhook(
            id=new_id("whk"),
            tenant=tenant,
            url=body.url,
            events=sorted(set(body.events)),
            secret=new_secret(),
        )
        session.add(webhook)
        session.flush()
        return webhook.id

    request = idempotency.fingerprint("POST /v1/webhooks", body.model_dump_json())
    webhook_id = idempotency.once(session, tenant, key, request, insert)
    with idempotency.repeating(key):
        webhook = repository.get(session, tenant, webhook_id)
    session.refresh(webhook)  # the database's clock set its time
    return webhook


def _check(text: str, *, allow_private: bool) -> None:
    try:
        url = httpx.URL(text)
        _ = url.netloc.decode("ascii")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise _refused(f"is not an address: {error}") from None
    if url.scheme not in PORTS or not url.host:
        raise _refused("must begin with https:// or http:// and name a host")
    if url.port is not None and not 0 < url.port <= LARGEST_PORT:
        raise _refused(f"must have a port up to {LARGEST_PORT}")
    if url.userinfo or url.fragment:
        raise _refused("must have neither a user nor a fragment")
    if not allow_private and (reason := addresses.refusal(url.host)):
        raise _refused(f"{reason}, and FOLDHOUSE_WEBHOOK_ALLOW_PRIVATE is not set")


def _refused(reason: str) -> Invalid:
    return Invalid(f"The url {reason}.", [Fault(detail=reason, pointer="/url")])
