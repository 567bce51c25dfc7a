"""Sends hints: messages that point workers at a queued shard."""

from __future__ import annotations

import logging

from app.queue.config import RUN_SHARD, sender_celery
from app.settings import Settings

logger = logging.getLogger(__name__)


class Hints:
    """A sender of hints, for one process; threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self._celery = sender_celery(settings)

    def send(self, shard_id: str) -> None:
        """Send a hint that the shard is queued.

        Never raises, because the row is the truth. If a hint is lost, the dispatcher of any idle
        worker sends another.
        """
        try:
            self._celery.send_task(RUN_SHARD, args=[shard_id])
        except Exception as error:  # every transport has its own
            logger.warning("no hint for shard %s: %s", shard_id, error)

    def check(self) -> None:
        """Try the broker once; raises what the transport raises if it cannot be used."""
        with self._celery.connection_for_write() as connection:
            connection.ensure_connection(max_retries=0)

    def close(self) -> None:
        self._celery.close()
