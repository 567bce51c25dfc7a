"""Keeps a run's newest checkpoint and the one before, in storage.

Two files are written in turn. Each starts with the SHA-256 of the rest, then a sequence number, so
that a damaged newest file is noticed and the other one is used.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

from app.storage.blobs import Blobs, checkpoints_key

logger = logging.getLogger(__name__)

FILES = ("a", "b")
DIGEST_BYTES = 32
SEQUENCE_BYTES = 8


class Checkpoints:
    """The checkpoints of one shard."""

    def __init__(self, blobs: Blobs, shard_id: str, workdir: Path) -> None:
        self._blobs = blobs
        self._folder = checkpoints_key(shard_id)
        self._workdir = workdir
        self._sequence = max((sequence for sequence, _ in self._whole()), default=0)

    def save(self, data: bytes) -> None:
        """Replace the older of the two; raises OSError if the disk is full."""
        sequence = self._sequence + 1
        body = sequence.to_bytes(SEQUENCE_BYTES) + data
        with tempfile.NamedTemporaryFile(dir=self._workdir) as file:
            file.write(hashlib.sha256(body).digest() + body)
            file.flush()
            self._blobs.put(f"{self._folder}/{FILES[sequence % 2]}", Path(file.name))
        self._sequence = sequence

    def newest_first(self) -> Iterator[bytes]:
        for _, data in sorted(self._whole(), reverse=True):
            yield data

    def _whole(self) -> Iterator[tuple[int, bytes]]:
        for name in FILES:
            key = f"{self._folder}/{name}"
            if not self._blobs.exists(key):
                continue
            with self._blobs.open(key) as file:
                digest, body = file.read(DIGEST_BYTES), file.read()
            if hashlib.sha256(body).digest() == digest:
                yield int.from_bytes(body[:SEQUENCE_BYTES]), body[SEQUENCE_BYTES:]
            else:
                logger.warning("checkpoint %s is broken", key)


def remove_checkpoints(blobs: Blobs, shard_id: str) -> None:
    blobs.delete(checkpoints_key(shard_id))
