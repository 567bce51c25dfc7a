"""Sends hints again, so that a wiped broker or a lost message costs only half a second.

A worker sends only as many hints as it has free slots, and a shard's hint at most every other
second. So hints do not pile up, even if the queue is long.
"""

from __future__ import annotations

import time

from app.accounts.quotas import NO_LIMITS, Limits
from app.jobs import attempts
from app.queue.dispatch import Hints
from app.storage.database import Database
from workers.slots import Slots

INTERVAL = 0.5  # seconds
RESEND_INTERVAL = 2.0  # seconds


class Dispatcher:
    """The dispatcher of one worker."""

    def __init__(
        self, database: Database, hints: Hints, slots: Slots, quota: Limits = NO_LIMITS
    ) -> None:
        self._database = database
        self._hints = hints
        self._slots = slots
        self._quota = quota  # of tenants without their own
        self._sent: dict[str, float] = {}  # shard id: when

    def send_due(self) -> None:
        """Send the hints of queued shards that are due, as many as there are free slots."""
        free = self._slots.free()
        if free == 0:
            return
        with self._database.reading() as session:
            shard_ids = attempts.due(session, limit=free, quota=self._quota)
        now = time.monotonic()
        self._sent = {id_: at for id_, at in self._sent.items() if at > now - RESEND_INTERVAL}
        for shard_id in shard_ids:
            if shard_id not in self._sent:
                self._hints.send(shard_id)
                self._sent[shard_id] = now
