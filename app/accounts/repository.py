"""Queries about keys, and the browsers that have signed in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Select, delete, or_, select, update
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.http.paging import PageQuery
from app.http.parameters import LATEST
from app.storage.database import database_now
from app.storage.tables import ApiKey, WebSession

NOTED_AFTER = timedelta(seconds=60)  # between two notes of when a key was last used


def get(session: Session, tenant: str | None, key_id: str) -> ApiKey:
    """A key of the tenant, or with None of any, or the newest that works for `latest`; raises
    NotFound."""
    query = _keys(tenant)
    if key_id == LATEST:
        query = query.where(_is_live()).order_by(ApiKey.id.desc()).limit(1)
    else:
        query = query.where(ApiKey.id == key_id)
    key = session.scalar(query)
    if key is None:
        raise NotFound(f"There is no key {key_id}.")
    return key


def page(session: Session, tenant: str | None, query: PageQuery) -> Sequence[ApiKey]:
    return session.scalars(query.apply(_keys(tenant), ApiKey.id)).all()


def listed(session: Session) -> Sequence[ApiKey]:
    """All keys, oldest first."""
    return session.scalars(_keys(None).order_by(ApiKey.id)).all()


def exist(session: Session) -> bool:
    """Whether there has ever been a key."""
    return session.scalar(select(ApiKey.id).limit(1)) is not None


def of_secret(session: Session, sha256: str) -> ApiKey | None:
    """The key with this digest, if it may be used."""
    return session.scalar(select(ApiKey).where(ApiKey.sha256 == sha256, _is_live()))


def of_cookie(session: Session, sha256: str) -> ApiKey | None:
    """The key with which the browser with this cookie has signed in, if it may be used."""
    signed_in = select(WebSession.key_id).where(
        WebSession.sha256 == sha256, WebSession.expires_at > database_now()
    )
    return session.scalar(
        select(ApiKey).where(ApiKey.id == signed_in.scalar_subquery(), _is_live())
    )


def person(session: Session, sha256: str) -> WebSession | None:
    """The session of the browser with this cookie, in which a person has signed in."""
    return session.scalar(
        select(WebSession).where(
            WebSession.sha256 == sha256,
            WebSession.key_id.is_(None),
            WebSession.expires_at > database_now(),
        )
    )


def is_note_due(key: ApiKey) -> bool:
    last = key.last_used_at
    return last is None or datetime.now(UTC) - last > NOTED_AFTER


def note_use(session: Session, key_id: str) -> None:
    session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=database_now()))


def end_session(session: Session, sha256: str) -> None:
    """With those that have expired."""
    session.execute(
        delete(WebSession).where(
            or_(WebSession.sha256 == sha256, WebSession.expires_at <= database_now())
        )
    )


def _is_live() -> ColumnElement[bool]:
    return ApiKey.revoked_at.is_(None) & or_(
        ApiKey.expires_at.is_(None), ApiKey.expires_at > database_now()
    )


def _keys(tenant: str | None) -> Select[ApiKey]:
    return select(ApiKey) if tenant is None else select(ApiKey).where(ApiKey.tenant == tenant)
