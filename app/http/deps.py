"""What endpoints ask for: sessions, settings, storage, and whose request it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from app.resources import Resources
from app.settings import Settings
from app.storage.blobs import Blobs
from app.storage.database import Database
from app.storage.tables import LOCAL_TENANT


# Trivial dependencies are async: a sync one costs a switch to another thread and back.
async def resources(request: Request) -> Resources:
    found: Resources = request.app.state.resources
    return found


ResourcesDep = Annotated[Resources, Depends(resources)]


async def _settings(resources: ResourcesDep) -> Settings:
    return resources.settings


async def _database(resources: ResourcesDep) -> Database:
    return resources.database


async def _blobs(resources: ResourcesDep) -> Blobs:
    return resources.blobs


async def tenant() -> str:
    """Everybody is `local` until there are keys."""
    return LOCAL_TENANT


SettingsDep = Annotated[Settings, Depends(_settings)]
DatabaseDep = Annotated[Database, Depends(_database)]
BlobsDep = Annotated[Blobs, Depends(_blobs)]
Tenant = Annotated[str, Depends(tenant)]


def _reading(database: DatabaseDep) -> Iterator[Session]:
    with database.reading() as session:
        yield session


# Who writes opens `database.writing()` himself: a dependency is entered in one thread and left in
# another, and while writers waited for their turn in all threads, none would be left to end one.
# It is also over before the answer leaves: an answer that says 202 is about a row that is there.
ReadSession = Annotated[Session, Depends(_reading, scope="function")]
