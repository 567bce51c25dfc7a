"""The resources that a process opens once."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from anyio import CapacityLimiter

from app.queue.dispatch import Hints
from app.settings import Settings
from app.storage.blobs import Blobs
from app.storage.database import Database

Part = TypeVar("Part")


@dataclass(frozen=True)
class Resources:
    """Kept as `app.state.resources`. Caches and counters belong to the folders that define them
    and are looked up by their class: `resources[ModelNames]`."""

    settings: Settings
    database: Database
    blobs: Blobs
    hints: Hints
    parsing: CapacityLimiter
    searching: CapacityLimiter
    submitting: CapacityLimiter
    bulk: CapacityLimiter
    # For blocks of long tables: running the graph and reading cells release Python's lock.
    predicting: ThreadPoolExecutor
    parts: Mapping[type[Any], Any]

    def __getitem__(self, kind: type[Part]) -> Part:
        part: Part = self.parts[kind]
        return part
