"""The worker's own row, which shows the API that a worker is running."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import delete, update

from app.storage.database import database_now
from app.storage.tables import Worker
from models.machine import usable_cores, usable_memory
from workers.slots import Slots
from workers.workplace import Workplace

INTERVAL = 5.0  # seconds
# A container's health probe looks at its age: `foldhouse doctor` would take seconds of a core.
SIGN_OF_LIFE = Path(tempfile.gettempdir()) / "foldhouse-worker"
FORGET_AFTER = 24 * 3600.0  # seconds without a sign from a worker that died


class Registration:
    def __init__(self, workplace: Workplace, slots: Slots) -> None:
        self._workplace = workplace
        self._slots = slots

    def refresh(self) -> None:
        """Report that this worker is alive."""
        with suppress(OSError):  # another user's worker on the same machine
            SIGN_OF_LIFE.touch()  # also while the database is away, which no restart of this helps
        here = self._workplace
        alive = update(Worker).where(Worker.id == here.owner).values(seen_at=database_now())
        with here.database.writing() as session:
            if session.scalar(alive.returning(Worker.id)) is not None:
                return
            session.execute(delete(Worker).where(Worker.seen_at < database_now(-FORGET_AFTER)))
            session.add(
                Worker(
                    id=here.owner,
                    hostname=socket.gethostname(),
                    boot_id=here.boot_id,
                    pid=os.getpid(),
                    device=self._slots.device,
                    slots=self._slots.count,
                    cores=usable_cores(),
                    memory_bytes=usable_memory(),
                    version=version("foldhouse"),
                )
            )

    def withdraw(self) -> None:
        """Report that this worker stops. Its resources stay known until another worker registers,
        so that the API can still admit jobs."""
        here = self._workplace
        gone = update(Worker).where(Worker.id == here.owner)
        with here.database.writing() as session:
            session.execute(gone.values(seen_at=database_now(-FORGET_AFTER)))
