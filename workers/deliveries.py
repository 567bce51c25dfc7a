"""Sends the messages of the outbox to webhooks."""

from __future__ import annotations

import asyncio

from prometheus_client import Counter

from app.storage.database import Database
from app.webhooks import outbox
from app.webhooks.outbox import Attempt
from app.webhooks.sending import send

INTERVAL = 1.0  # seconds
AT_A_TIME = 8


class Deliveries:
    """The sender of one worker."""

    def __init__(self, database: Database, sent: Counter, *, allow_private: bool) -> None:
        """`sent`: counts attempts by their outcome."""
        self._database = database
        self._sent = sent
        self._allow_private = allow_private

    def send_due(self) -> None:
        """Send the messages that are due, a few at a time, until none is left."""
        while self._is_due():
            with self._database.writing() as session:
                attempts = outbox.claim(session, AT_A_TIME)
            asyncio.run(self._send_all(attempts))

    def _is_due(self) -> bool:
        with self._database.reading() as session:
            return outbox.is_due(session)

    async def _send_all(self, attempts: list[Attempt]) -> None:
        await asyncio.gather(*map(self._send, attempts))

    async def _send(self, attempt: Attempt) -> None:
        error = await send(attempt, allow_private=self._allow_private)
        self._sent.labels("delivered" if error is None else "failed").inc()
        with self._database.writing() as session:
            outbox.record(session, attempt, error)
