"""The embedded broker: kombu's filesystem transport, made safe for several processes.

The stock transport writes a message under its final name, so a reader can see half of it, and an
unparsable message ends the worker. Here a message is written under another name, fsynced and
renamed, and anything that is not a hint is moved to a quarantine folder. Only regular files are
opened, because a FIFO would block its reader and a link may lead anywhere. Queues use the anonymous
exchange (`app.queue.config`), so the stock transport's table of bindings, which has the same
defect, is never written.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import tempfile
import time
from collections import defaultdict, deque
from pathlib import Path
from queue import Empty
from typing import Any
from uuid import uuid4

from kombu import exceptions
from kombu.transport import filesystem

from app.queue.messages import HINT_BYTES, QUARANTINED, NoHint, fresh_hint

logger = logging.getLogger(__name__)

POLLING_INTERVAL = 0.1  # seconds
LONGEST_WAIT = 0.5  # seconds
# The same while a message that was handed on is not acknowledged: no other is taken before.
ACKNOWLEDGED_WITHIN = 0.02  # seconds


class Channel(filesystem.Channel):
    """Messages are the files `{time}_{id}.{queue}.msg` of one folder, oldest first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        # By queue, what the last look at the folder found: a look at ten thousand takes 50 ms.
        self._found: defaultdict[str, deque[Path]] = defaultdict(deque)

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
        found = self._found[queue]
        if not found:
            found.extend(self._waiting(queue))
        while found:
            path = found.popleft()
            try:
                content = _read(path)
                path.unlink()
            except OSError:  # another worker took it, or it cannot be read
                continue
            try:
                return fresh_hint(content, self, queue)
            except NoHint as reason:
                self._quarantine(path.name, content, reason)
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

    def _quarantine(self, name: str, content: bytes, reason: NoHint) -> None:
        folder = self._messages / "quarantine"
        logger.error("%s is not a hint and is moved to %s: %s", ascii(name), folder, reason)
        try:
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(content[:HINT_BYTES])
            kept = sorted(folder.iterdir(), key=_changed_at)
            for oldest in kept[:-QUARANTINED]:
                oldest.unlink(missing_ok=True)
        except OSError as error:
            logger.error("%s is lost: %s", ascii(name), error.strerror)


def _read(path: Path) -> bytes:
    """The file, or as much of it as shows that it is too long; raises OSError."""
    with open(path, "rb", opener=_open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is no file")
        return file.read(HINT_BYTES + 1)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _changed_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:  # another worker removed it
        return 0.0


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
        idle = all(channel.qos.can_consume() for channel in connection.channels)
        longest = LONGEST_WAIT if idle else ACKNOWLEDGED_WITHIN
        super().drain_events(connection, timeout=min(timeout, longest))  # type: ignore[no-untyped-call]
