"""The receiver of chunks' reports, in the training process or in the one that started it."""

from __future__ import annotations

from typing import Protocol

from models.members import Member
from models.training.progress import MemberEpoch

Chunk = tuple[int, int]  # range of a group's members, without the second number


class Desk(Protocol):
    """The reports of a chunk. All arguments must be picklable."""

    def epoch_ended(self, metrics: list[MemberEpoch], active: list[Member]) -> None:
        """Called with the members that have ended an epoch, and with those that continue."""

    def should_stop(self) -> bool:
        """Called between blocks of batches; True asks to stop."""

    def checkpoint(self, group: int, chunk: Chunk, state: bytes) -> None:
        """The newest state of a chunk."""

    def split(self, group: int, chunk: Chunk, halves: list[Chunk]) -> None:
        """A chunk that did not fit in memory was split."""
