"""The embedded broker: kombu's filesystem transport, made safe for several processes.

The stock transport writes a message under its final name, so that a reader can meet half of it,
and what cannot be parsed ends the worker. Here a message is written under another name, fsynced
and renamed in, and what is no hint is moved to a quarantine folder. Queues use
the anonymous exchange (`app.queue.config`), so the stock transport's table of bindings, which has
the same defect, is never written.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from pathlib import Path
from queue import Empty
from typing import Any
from uuid import uuid4

from kombu import exceptions
from kombu.transport import filesystem

from app.queue.messages import read_hint

logger = logging.getLogger(__name__)

POLLING_INTERVAL = 0.1  # seconds
LONGEST_WAIT = 0.5  # seconds


class Channel(filesystem.Channel):
    """Messages are the files `{time}_{id}.{queue}.msg` of one folder, oldest first."""

    @property
    def _messages(self) -> Path:
        return Path(self.data_folder_in)

    def _put(self, queue: str, payload: dict[str, Any], **_: Any) -> None:  # type: ignore[override]
        self._messages.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns()}_{uuid4().hex}.{queue}.msg"
        temporary = self._messages / f".{name}"
        try:
            with temporary.open("x") as file:
                json.dump(payload, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self._messages / name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _get(self, queue: str) -> dict[str, Any]:  # type: ignore[override]
        for path in self._waiting(queue):
            try:
                content = path.read_bytes()
                path.unlink()
            except OSError:  # another worker took it, or it cannot be read
                continue
            try:
                return read_hint(content, self)
            except Exception as error:
                self._quarantine(path, content, error)
        raise Empty

    def _size(self, queue: str) -> int:
        return len(self._waiting(queue))

    def _waiting(self, queue: str) -> list[Path]:
        try:
            names = os.listdir(self._messages)
        except OSError:  # wiped: the next message makes the folder again; or it is away
            return []
        return sorted(
            self._messages / name
            for name in names
            if name.endswith(f".{queue}.msg") and not name.startswith(".")
        )

    def _quarantine(self, path: Path, content: bytes, error: Exception) -> None:
        folder = self._messages / "quarantine"
        logger.error("%s is no hint and is moved to %s: %r", path.name, folder, error)
        try:
            folder.mkdir(exist_ok=True)
            (folder / path.name).write_bytes(content)
        except OSError as full:
            logger.error("%s is lost: %s", path.name, full)


class Transport(filesystem.Transport):
    Channel = Channel
    polling_interval = POLLING_INTERVAL

    def establish_connection(self) -> Any:
        """Where no message can be written, the broker is away as a server can be."""
        folder = Path(self.client.transport_options["data_folder_in"])  # type: ignore[union-attr]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise exceptions.ConnectionError(
                f"{folder} cannot be written: {error.strerror}"
            ) from error
        return super().establish_connection()  # type: ignore[no-untyped-call]

    def drain_events(self, connection: Any, timeout: float = LONGEST_WAIT) -> None:  # type: ignore[override]
        """Wait less than Celery's two seconds: it looks for a stop between two waits."""
        super().drain_events(connection, timeout=min(timeout, LONGEST_WAIT))  # type: ignore[no-untyped-call]
