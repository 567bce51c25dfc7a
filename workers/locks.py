"""Lock files: how processes on one host see that an attempt is alive.

The supervisor locks the file before it claims the shard and passes the open file to the child, so
the lock is free only when both are dead. The file's name has the shard and the worker, so that a
free file says nothing about attempts elsewhere. It stays until the shard is finished.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Locks:
    """The lock files of one data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def held(self, shard_id: str, owner: str) -> Iterator[int]:
        """Hold the lock; yields its file descriptor.

        Raises
        ------
        BlockingIOError: an earlier attempt's process still has it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path(shard_id, owner), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield descriptor
        finally:
            os.close(descriptor)

    def is_free(self, shard_id: str, owner: str) -> bool:
        """Whether the file is here and nobody holds it."""
        try:
            descriptor = os.open(self._path(shard_id, owner), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def all(self) -> list[tuple[str, str]]:
        """Shard and owner of every file."""
        paths = self._folder.glob(f"*.*{SUFFIX}")
        names = (path.name.removesuffix(SUFFIX).partition(".") for path in paths)
        return [(shard_id, owner) for shard_id, _, owner in names]

    def remove(self, shard_id: str, owner: str) -> None:
        self._path(shard_id, owner).unlink(missing_ok=True)

    def _path(self, shard_id: str, owner: str) -> Path:
        return self._folder / f"{shard_id}.{owner}{SUFFIX}"


SUFFIX = ".lock"
