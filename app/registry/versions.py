"""If-Match: a change of an alias that holds only for the version that its client has seen.

An alias's version is the id of the newest change in its history.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.errors import PreconditionFailed
from app.registry import repository


def etag(version: str) -> str:
    return f'"{version}"'


def require(session: Session, tenant: str, name: str, if_match: str | None) -> None:
    """Lock an alias if its version is one of those in If-Match (RFC 9110, 13.1.1).

    Raises
    ------
    PreconditionFailed: it has moved, or is not there.
    """
    if if_match is None:
        return
    alias = repository.lock_alias(session, tenant, name)
    version = repository.version(session, tenant, name)
    tags = [tag.strip() for tag in if_match.split(",")]
    if alias is None:
        raise PreconditionFailed(f"There is no alias '{name}', and If-Match is {if_match}.")
    if "*" not in tags and etag(version) not in tags:
        raise PreconditionFailed(
            f"'{name}' was not changed: its version is {etag(version)}, and If-Match is "
            f"{if_match}. Look where it points now, and decide again."
        )
