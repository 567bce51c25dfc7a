"""Streams of events to any number of watchers, with one reader of the database a process.

While anyone watches, the reader asks every POLL_INTERVAL for what is new of all watched jobs. It
keeps the newest messages of each job; watchers take them from there at their own speed. Numbers
have no gaps, so a watcher knows whether it has missed any. If so, whether it has just come or
could not keep up, it reads them from the database in blocks.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager

from anyio import CapacityLimiter, to_thread
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from sqlalchemy.exc import SQLAlchemyError

from app.errors import Busy
from app.jobs import messages
from app.jobs.messages import Message
from app.storage.database import Database

logger = logging.getLogger(__name__)

POLL_INTERVAL = 0.25  # s
HEARTBEAT = 15.0  # s without an event until a comment shows that the connection still holds
# Of a stream: a client that reconnects is asked again who it is, and whether its job still exists.
LIFETIME = 600.0  # s
RETRY = format_sse_event(retry=1_000)  # ms until a client reconnects
MOST_WATCHERS = 500  # of one process, which takes up to 2,000 connections
KEPT = 32  # messages of a job
POLLED = 200  # messages that the reader takes at a time, of all jobs
REPLAYED = 20  # messages that a watcher holds, which are 4,000 epochs at most
REPLAYS_AT_A_TIME = 2


class Channel:
    """The newest messages of a watched job. `last` is the number of the newest."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.watchers = 0
        self._kept: deque[Message] = deque(maxlen=KEPT)
        self._news = asyncio.Event()

    def add(self, message: Message) -> None:
        if message.sequence == self.last + 1:
            self.last = message.sequence
            self._kept.append(message)
            self.wake()

    def after(self, seen: int) -> list[Message] | None:
        """The messages that follow; None if some of them are no longer here."""
        if seen >= self.last:
            return []
        if not self._kept or self._kept[0].sequence > seen + 1:
            return None
        return [message for message in self._kept if message.sequence > seen]

    def wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def wait(self, seconds: float) -> bool:
        """Whether something came in that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True


class Broadcast:
    """The streams of one process. Only the event loop changes it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._channels: dict[str, Channel] = {}
        self._reader: asyncio.Task[None] | None = None
        self._reading = CapacityLimiter(1)
        self._replaying = CapacityLimiter(REPLAYS_AT_A_TIME)
        self._stopping = False

    @property
    def watchers(self) -> int:
        return sum(channel.watchers for channel in self._channels.values())

    def require_place(self) -> None:
        """Raises Busy."""
        if self.watchers >= MOST_WATCHERS:
            raise Busy(f"{MOST_WATCHERS} streams of events are open, the limit of this process.")

    def stop(self) -> None:
        """End all streams, because the server stops; their clients reconnect."""
        self._stopping = True
        for channel in self._channels.values():
            channel.wake()

    async def stream(self, job_id: str, seen: int, newest: int) -> AsyncIterator[bytes]:
        """The events after number `seen`, to the end of the job.

        newest : the number of the job's newest event, or an earlier one
        """
        yield RETRY
        ends_at = asyncio.get_running_loop().time() + LIFETIME
        with self._joined(job_id, newest) as channel:
            while not self._stopping and asyncio.get_running_loop().time() < ends_at:
                found = channel.after(seen)
                if found is None:
                    try:
                        found = await self._read({job_id: seen}, REPLAYED, self._replaying)
                    except SQLAlchemyError as error:
                        logger.warning("a stream of events ends: %s", error)
                        return
                for message in found:
                    yield message.text
                    seen = message.sequence
                    if message.is_end:
                        return
                if not found and not await channel.wait(HEARTBEAT):
                    yield KEEPALIVE_COMMENT

    @contextmanager
    def _joined(self, job_id: str, newest: int) -> Iterator[Channel]:
        channel = self._channels.setdefault(job_id, Channel(newest))
        channel.watchers += 1
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._keep_reading())
        try:
            yield channel
        finally:
            channel.watchers -= 1
            if channel.watchers == 0:
                del self._channels[job_id]

    async def _keep_reading(self) -> None:
        """Until nobody watches."""
        is_away = False
        while self._channels:
            seen = {job_id: channel.last for job_id, channel in self._channels.items()}
            try:
                found = await self._read(seen, POLLED, self._reading)
            except SQLAlchemyError as error:
                if not is_away:
                    logger.warning("streams of events wait for the database: %s", error)
                found, is_away = [], True
            else:
                is_away = False
            for message in found:
                if message.job_id in self._channels:
                    self._channels[message.job_id].add(message)
            if len(found) < POLLED:
                await asyncio.sleep(POLL_INTERVAL)

    async def _read(
        self, seen: Mapping[str, int], limit: int, limiter: CapacityLimiter
    ) -> list[Message]:
        def read() -> list[Message]:
            with self._database.reading() as session:
                return messages.read(session, seen, limit)

        return await to_thread.run_sync(read, limiter=limiter)
