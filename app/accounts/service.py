"""Makes, replaces and revokes keys; signs browsers in and out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.accounts import secrets
from app.accounts.persons import Person
from app.errors import Conflict
from app.grants import Role
from app.ids import new_id
from app.storage.database import database_now
from app.storage.tables import ApiKey, WebSession

MOST_KEYS = 1_000  # of a tenant, that may be used
SESSION_S = 12 * 3600.0
COOKIE_CHARACTERS = 43  # 256 bits


@dataclass(frozen=True)
class NewKey:
    """A key with its secret, which is nowhere else."""

    row: ApiKey
    secret: str


def create(
    session: Session, *, tenant: str, name: str, role: Role, expires_at: datetime | None
) -> NewKey:
    """Raises Conflict: the tenant has too many keys."""
    live = select(func.count()).where(ApiKey.tenant == tenant, ApiKey.revoked_at.is_(None))
    if (session.scalar(live) or 0) >= MOST_KEYS:
        raise Conflict(f"The tenant {tenant} has {MOST_KEYS:,} keys: revoke some.")
    secret = secrets.new_key(role)
    key = ApiKey(
        id=new_id("key"),
        tenant=tenant,
        name=name,
        role=role,
        start=secret[: secrets.SHOWN],
        sha256=secrets.digest(secret),
        expires_at=expires_at,
    )
    session.add(key)
    session.flush()
    session.refresh(key)
    return NewKey(key, secret)


def rotate(session: Session, key: ApiKey, grace_s: float) -> NewKey:
    """A second key like this one, which ends after `grace_s`, so that clients can be changed over.

    Raises
    ------
    Conflict: the key has been revoked.
    """
    if key.revoked_at is not None:
        raise Conflict(f"The key {key.id} has been revoked: create a new one.")
    new = create(
        session,
        tenant=key.tenant,
        name=key.name,
        role=cast(Role, key.role),
        expires_at=key.expires_at,
    )
    ends = session.scalar(select(database_now(grace_s)))
    assert ends is not None
    key.expires_at = ends if key.expires_at is None else min(ends, key.expires_at)
    session.flush()
    return new


def revoke(session: Session, key: ApiKey) -> None:
    """Every process refuses it within a second. A second time it changes nothing."""
    session.execute(
        update(ApiKey)
        .where(ApiKey.id == key.id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=database_now())
    )


def sign_in(session: Session, key: ApiKey) -> str:
    """The cookie of a browser that has shown this key."""
    return _begin(session, tenant=key.tenant, key_id=key.id)


def sign_in_person(session: Session, person: Person, tenant: str) -> str:
    """The cookie of the browser of a person whom the identity provider knows."""
    return _begin(
        session,
        tenant=tenant,
        subject=person.subject,
        subject_name=person.name,
        group_names=person.groups,
    )


def _begin(session: Session, **who: Any) -> str:
    cookie = secrets.random_text(COOKIE_CHARACTERS)
    expires_at = database_now(SESSION_S)
    session.add(WebSession(sha256=secrets.digest(cookie), expires_at=expires_at, **who))
    return cookie
