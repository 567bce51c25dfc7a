"""What the process opens once."""

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
    """It is `app.state.resources`. Caches and counters belong to the folders that define them:
    each is found by its class, `resources[ModelNames]`."""

    settings: Settings
    database: Database
    blobs: Blobs
    hints: Hints
    parsing: CapacityLimiter
    submitting: CapacityLimiter
    bulk: CapacityLimiter
    # Blocks of long tables: the graph and the reading of cells leave Python's lock to others.
    pricing: ThreadPoolExecutor
    parts: Mapping[type[Any], Any]

    def __getitem__(self, kind: type[Part]) -> Part:
        part: Part = self.parts[kind]
        return part
