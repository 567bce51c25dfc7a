"""Whether the services behind this one answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, Field
from sqlalchemy import func, select

from app.errors import Fault, Unavailable
from app.printed import printable, redacted
from app.resources import Resources
from app.storage.database import Database, database_now
from app.storage.tables import Worker

WORKER_SEEN = 30.0  # s since a worker last reported

LONGEST_REASON = 300  # characters

log = logging.getLogger(__name__)

Part = Literal["ok", "down"]


class Readiness(BaseModel):
    """`degraded`: uploads and predictions work, but jobs wait for a broker or a worker."""

    status: Literal["ready", "degraded"]
    database: Part
    storage: Part
    broker: Part
    workers: int = Field(description=f"Seen within {WORKER_SEEN:.0f} seconds.")
    down: dict[str, str] = Field(description="The reason for each part that cannot be used.")


def readiness(resources: Resources, *, strict: bool = False) -> Readiness:
    """Check each part. Raises Unavailable if the database or the storage is down, or, if `strict`,
    if any part is."""
    workers = 0

    def count_workers() -> None:
        nonlocal workers
        workers = _workers_seen(resources.database)

    checks: dict[str, Callable[[], object]] = {
        "database": count_workers,
        "storage": resources.blobs.check,
        "broker": resources.hints.check,
    }
    down = {name: reason for name, check in checks.items() if (reason := _trouble(name, check))}
    if not workers:
        down["workers"] = f"none was seen within {WORKER_SEEN:.0f} seconds"
    if down.keys() & {"database", "storage"} or (strict and down):
        faults = [Fault(pointer=f"/{name}", detail=reason) for name, reason in down.items()]
        raise Unavailable(f"These cannot be used: {', '.join(down)}.", faults)
    parts: dict[str, Part] = {name: "down" if name in down else "ok" for name in checks}
    return Readiness(status="degraded" if down else "ready", workers=workers, down=down, **parts)


def _trouble(name: str, check: Callable[[], object]) -> str:
    """Why a part cannot be used, in one line; "" if it can."""
    try:
        check()
    except Exception as error:  # every driver raises its own
        log.warning("%s: %s", name, error)
        lines = str(error).splitlines() or [type(error).__name__]
        return redacted(printable(lines[0]))[:LONGEST_REASON]
    return ""


def _workers_seen(database: Database) -> int:
    recent = Worker.seen_at > database_now(-WORKER_SEEN)
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(Worker).where(recent)) or 0
