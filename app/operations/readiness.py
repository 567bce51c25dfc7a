"""Whether the services behind this one answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, Field
from sqlalchemy import func, select

from app.deps import Resources
from app.errors import Unavailable
from app.storage.database import Database, database_now
from app.storage.tables import Worker

WORKER_SEEN = 30.0  # s since a worker's last sign of life

log = logging.getLogger(__name__)

Part = Literal["ok", "down"]


class Readiness(BaseModel):
    """`degraded`: uploads and prices work, and jobs wait for a broker or a worker."""

    status: Literal["ready", "degraded"]
    database: Part
    storage: Part
    broker: Part
    workers: int = Field(description=f"Seen within {WORKER_SEEN:.0f} seconds.")


def readiness(resources: Resources) -> Readiness:
    """Ask each of them; raises Unavailable without the database or the storage."""
    workers = 0

    def count_workers() -> None:
        nonlocal workers
        workers = _workers_seen(resources.database)

    parts: dict[str, Part] = {
        "database": _check("database", count_workers),
        "storage": _check("storage", resources.blobs.check),
        "broker": _check("broker", resources.hints.check),
    }
    down = [name for name in ("database", "storage") if parts[name] == "down"]
    if down:
        raise Unavailable(f"The {' and the '.join(down)} cannot be used; the log says why.")
    ready = parts["broker"] == "ok" and workers > 0
    return Readiness(status="ready" if ready else "degraded", workers=workers, **parts)


def _check(name: str, check: Callable[[], object]) -> Part:
    try:
        check()
    except Exception as error:  # every driver has its own
        log.warning("%s: %s", name, error)
        return "down"
    return "ok"


def _workers_seen(database: Database) -> int:
    recent = Worker.seen_at > database_now(-WORKER_SEEN)
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(Worker).where(recent)) or 0
