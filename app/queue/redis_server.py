"""kombu's Redis transport, made safe against what other programs put into its lists.

The stock channel parses what it has taken from a list without a look, and an error there ends the
worker. Here what is no hint goes to the list `{queue}.quarantine`, the newest thousand of it.
"""

from __future__ import annotations

import logging
from queue import Empty
from typing import Any

from kombu.transport import redis

from app.queue.messages import read_hint

logger = logging.getLogger(__name__)

KEPT = 1_000


class Channel(redis.Channel):
    def _brpop_read(self, **options: Any) -> bool:
        # What it returns is parsed by `loads` right away, so it cannot be wrapped.
        client = self.client
        try:
            try:
                answer = client.parse_response(client.connection, "BRPOP", **options)
            except self.connection_errors:
                client.connection.disconnect()
                raise
            if not answer:
                raise Empty
            key, content = answer
            queue = key.decode().rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
        finally:
            self._in_poll = None  # type: ignore[assignment]
            self._flush_brpop_reauth()  # type: ignore[no-untyped-call]
        try:
            payload = read_hint(content, self)
        except Exception as error:
            self._quarantine(queue, content, error)
            raise Empty from error
        self.connection._deliver(payload, queue)
        return True

    def _quarantine(self, queue: str, content: bytes, error: Exception) -> None:
        place = f"{queue}.quarantine"
        with self.conn_or_acquire() as client:
            client.lpush(place, content)
            client.ltrim(place, 0, KEPT - 1)
        logger.error("a message is no hint and was moved to %s: %r", place, error)


class Transport(redis.Transport):
    Channel = Channel
