"""Shared by the parts of one worker process."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

from app.erasure import retention
from app.ids import new_id
from app.settings import Settings
from app.storage.blobs import Blobs
from app.storage.database import Database
from app.storage.sweep import sweep
from workers.locks import Locks
from workers.metrics import Metrics

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Workplace:
    """Settings, stores, who this worker is, and what it counts."""

    settings: Settings
    database: Database
    blobs: Blobs
    locks: Locks
    boot_id: str
    owner: str = field(default_factory=lambda: new_id("wrk"))
    stopping: threading.Event = field(default_factory=threading.Event)
    metrics: Metrics = field(default_factory=Metrics)

    @classmethod
    def of(cls, settings: Settings) -> Workplace:
        return cls(
            settings=settings,
            database=Database(settings.resolved_database_url),
            blobs=Blobs(settings.resolved_storage_url),
            locks=Locks(settings.root / "locks"),
            boot_id=this_boot(),
        )

    def sweep(self) -> None:
        """Remove from storage what no row names, and what is too old."""
        sweep(self.database, self.blobs, self.settings.usage_days)
        retention.delete_old_jobs(self.database, self.settings.job_days)

    def workdir(self, shard_id: str, owner: str) -> Path:
        """The scratch folder of a worker's attempts at a shard."""
        return self.settings.root / "work" / f"{shard_id}.{owner}"


def this_boot() -> str:
    """An id that differs between hosts and, on Linux, between boots."""
    return BOOT_ID.read_text().strip() if BOOT_ID.exists() else socket.gethostname()
