"""Idempotency keys: a repeated request creates nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import IdempotencyMismatch, NotFound
from app.storage.tables import IdempotencyKey


def fingerprint(operation: str, body: str) -> str:
    """SHA-256 of what a key stands for."""
    return hashlib.sha256(f"{operation}\n{body}".encode()).hexdigest()


def recall(session: Session, tenant: str, key: str | None, request: str) -> str | None:
    """The id of what the key's first request created, or None without a key or with a new one.

    Raises
    ------
    IdempotencyMismatch: the key's first request was a different one.
    """
    if key is None:
        return None
    row = session.get(IdempotencyKey, (tenant, key))
    if row is None:
        return None
    if row.request_sha256 != request:
        raise IdempotencyMismatch(
            f"Idempotency-Key '{key}' was used for another request. Use a new key for a new one."
        )
    return row.resource_id


@contextmanager
def repeating(key: str | None) -> Iterator[None]:
    """Wraps the look-up of what the key's first request created: explains a NotFound."""
    try:
        yield
    except NotFound as error:
        raise NotFound(
            f"{error.detail} The first request with the Idempotency-Key '{key}' created it, and it "
            "has been deleted since. Use a new key to create another."
        ) from None


def once(
    session: Session, tenant: str, key: str | None, request: str, create: Callable[[], str]
) -> str:
    """The id of what `create` creates, or of what the key's first request created.

    Of two concurrent requests with one key, the later waits on the key's row, then undoes what it
    created.
    """
    known = recall(session, tenant, key, request)
    if known is not None or key is None:
        return known or create()
    try:
        with session.begin_nested():
            made = create()
            session.add(
                IdempotencyKey(tenant=tenant, key=key, request_sha256=request, resource_id=made)
            )
        return made
    except IntegrityError:
        known = recall(session, tenant, key, request)
        if known is None:
            raise
        return known
