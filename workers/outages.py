"""Lets a worker outlive a database outage: loops continue, and writes are retried."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.orm import Session

from app.storage.database import DATABASE_AWAY, Database

logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_INTERVAL = 0.5  # seconds
STOPPING_PATIENCE = 2.0  # seconds; a lease that is left behind runs out by itself


def repeat(
    action: Callable[[], object], interval: float, stopping: threading.Event
) -> threading.Thread:
    """Call `action` now and every `interval` seconds in a thread, whatever it raises."""
    name = f"{action.__module__}.{action.__qualname__}"

    def loop() -> None:
        away = False
        while not stopping.is_set():
            try:
                action()
                away = False
            except DATABASE_AWAY as error:
                if not away:
                    logger.warning("%s waits for the database: %s", name, reason(error))
                away = True
            except Exception:
                logger.exception("%s failed and will be tried again", name)
            stopping.wait(interval)

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    return thread


def persist(database: Database, write: Callable[[Session], T], stopping: threading.Event) -> T:
    """Run `write` in a transaction, and retry it while the database is unreachable.

    When the worker stops, it retries for only STOPPING_PATIENCE more, then raises the error.
    """
    deadline: float | None = None
    while True:
        try:
            with database.writing() as session:
                return write(session)
        except DATABASE_AWAY as error:
            if stopping.is_set():
                deadline = deadline or time.monotonic() + STOPPING_PATIENCE
                if time.monotonic() > deadline:
                    raise
            logger.warning("waiting to write: %s", reason(error))
            time.sleep(RETRY_INTERVAL)


def reason(error: Exception) -> str:
    """The first line of the database driver's message."""
    return str(getattr(error, "orig", None) or error).partition("\n")[0]
