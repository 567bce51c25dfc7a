"""Folders of running processes, each locked by its own, so that one that a killed process left is
recognised by its free lock."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def scratch_folder(root: Path, name: str) -> Iterator[Path]:
    """A new folder that is locked while this process lives, and removed at the end."""
    folder, unlocked = root / name, root / f".{name}"
    unlocked.mkdir(parents=True)
    descriptor = os.open(unlocked, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        unlocked.rename(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def abandoned(root: Path, pattern: str) -> Iterator[Path]:
    """The folders of killed processes, each locked until the next is asked for."""
    for folder in root.glob(pattern):
        with suppress(FileNotFoundError):  # its process has just removed it
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                if is_free(descriptor):
                    yield folder
            finally:
                os.close(descriptor)


def is_free(descriptor: int) -> bool:
    """Lock an open file or folder; False if another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
