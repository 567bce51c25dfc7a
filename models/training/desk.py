"""Where the chunks of a run report to, in the process that trains or in the one that began it."""

from __future__ import annotations

from typing import Protocol

from models.members import Member
from models.training.progress import MemberEpoch

Chunk = tuple[int, int]  # members from the first to before the second, of a group


class Desk(Protocol):
    """All that a chunk says; what it hands over must be fit to be pickled."""

    def epoch_ended(self, metrics: list[MemberEpoch], active: list[Member]) -> None:
        """Members have ended an epoch, and these go on."""

    def should_stop(self) -> bool:
        """Asked between blocks of batches."""

    def checkpoint(self, group: int, chunk: Chunk, state: bytes) -> None:
        """The newest state of a chunk."""

    def split(self, group: int, chunk: Chunk, halves: list[Chunk]) -> None:
        """A chunk was too large for the memory."""
