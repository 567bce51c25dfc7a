"""kombu's Redis transport, made safe against what other programs put under its names.

The stock channel parses what it takes from a list without a check, and an error there ends the
worker. Here, anything that is not a hint goes to the list `{queue}.quarantine`, and a key that is
not a list is renamed to `{queue}.foreign`.

Redis keeps nothing about messages in progress, and there is one list per queue: a lost hint is sent
again, and fewer names are fewer that other programs can break.
"""

from __future__ import annotations

import logging
from queue import Empty
from typing import Any

from kombu.transport import redis

from app.queue.messages import HINT_BYTES, QUARANTINED, NoHint, fresh_hint

logger = logging.getLogger(__name__)

NOT_THERE_OR_A_LIST = (b"none", b"list")


class Channel(redis.Channel):
    ack_emulation = False
    priority_steps = [0]  # noqa: RUF012

    def _brpop_read(self, **options: Any) -> bool:
        # What it returns is parsed by `loads` right away, so it cannot be wrapped.
        client = self.client
        try:
            try:
                answer = client.parse_response(client.connection, "BRPOP", **options)
            except self.connection_errors:
                client.connection.disconnect()
                raise
            except self.ResponseError as error:
                if not str(error).startswith("WRONGTYPE"):
                    raise
                for queue in self.active_queues:
                    self._set_aside(queue)
                raise Empty from error
            if not answer:
                raise Empty
            key, content = answer
            queue = key.decode()
            self._queue_cycle.rotate(queue)
        finally:
            self._in_poll = None  # type: ignore[assignment]
            self._flush_brpop_reauth()  # type: ignore[no-untyped-call]
        try:
            hint = fresh_hint(content, self, queue)
        except NoHint as reason:
            self._quarantine(queue, content, reason)
            raise Empty from reason
        self.connection._deliver(hint, queue)
        return True

    def _size(self, queue: str) -> int:
        """Asked when a consumer starts."""
        self._set_aside(queue)
        return super()._size(queue)  # type: ignore[no-any-return, no-untyped-call]

    def _set_aside(self, queue: str) -> None:
        """Rename a key with the queue's name that is not a list."""
        with self.conn_or_acquire() as client:
            found = client.type(queue)
            if found in NOT_THERE_OR_A_LIST:
                return
            place = f"{queue}.foreign"
            client.rename(queue, place)
        logger.error("the key %s was a %s, not a list, and was renamed to %s", queue, found, place)

    def _quarantine(self, queue: str, content: bytes, reason: NoHint) -> None:
        place = f"{queue}.quarantine"
        logger.error("a message is not a hint and is moved to %s: %s", place, reason)
        try:
            with self.conn_or_acquire() as client:
                pipeline = client.pipeline()
                pipeline.lpush(place, content[:HINT_BYTES])
                pipeline.ltrim(place, 0, QUARANTINED - 1)
                pipeline.execute()
        except self.ResponseError as error:  # Redis is full, or the place is no list
            # Its own words repeat the message.
            refused = type(error).__name__
            logger.error("the message is lost: Redis has refused it (%s)", refused)


class Transport(redis.Transport):
    Channel = Channel
