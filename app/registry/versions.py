"""If-Match: changes an alias only if it still has the version that the client saw.

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
    PreconditionFailed: the alias has moved or does not exist.
    """
    if if_match is None:
        return
    alias = repository.lock_alias(session, tenant, name)
    version = repository.version(session, tenant, name)
    tags = [tag.strip() for tag in if_match.split(",")]
    if alias is None:
        raise PreconditionFailed(f"There is no alias '{name}' to match If-Match {if_match}.")
    if "*" not in tags and etag(version) not in tags:
        raise PreconditionFailed(
            f"'{name}' was not changed: If-Match must be its version {etag(version)}, got "
            f"{if_match}. Check where it points now, and decide again."
        )
