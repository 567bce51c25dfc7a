"""Renews an attempt's lease, even while its child is silent or its result is being stored."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.jobs import attempts
from app.jobs.attempts import Fence
from app.storage.database import Database
from workers.outages import repeat

RENEW_INTERVAL = 5.0  # seconds


@contextmanager
def kept_lease(database: Database, fence: Fence) -> Iterator[threading.Event]:
    """Renew the lease in a thread; yields an event that is set if another attempt has the shard."""
    lost = threading.Event()
    over = threading.Event()

    def renew() -> None:
        with database.writing() as session:
            renewed = attempts.renew(session, fence)
        if not renewed:
            lost.set()
            over.set()

    repeat(renew, RENEW_INTERVAL, over)
    try:
        yield lost
    finally:
        over.set()
