"""Keeps an attempt's lease fresh, however long its child is silent and its result is stored."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from app.jobs import attempts
from app.jobs.attempts import Fence
from app.storage.database import Database
from workers.outages import repeat

logger = logging.getLogger(__name__)

RENEW_INTERVAL = 5.0  # seconds


class Lease:
    """A context in which the lease is renewed; `lost` tells that the shard was given to another."""

    def __init__(self, database: Database, fence: Fence, interval: float = RENEW_INTERVAL) -> None:
        self._database = database
        self._fence = fence
        self._interval = interval
        self._over = threading.Event()
        self.lost = threading.Event()

    def __enter__(self) -> Lease:
        self._thread = repeat(self._renew, self._interval, self._over)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()

    def _renew(self) -> None:
        with self._database.writing() as session:
            renewed = attempts.renew(session, self._fence)
        if not renewed:
            self.lost.set()
            self._over.set()
