"""A cache of parsed table profiles. Datasets never change, so each is parsed once."""

from __future__ import annotations

import threading

from cachetools import LRUCache
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.storage.tables import Dataset
from models.tables.profile import Profile

CAPACITY = 64 * 1024 * 1024  # bytes
COLUMN_BYTES = 8 * 1024  # measured: 6 KB of long words, 2 KB of numbers


class Profiles:
    """A cache for all threads of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parsed: LRUCache[str, Profile] = LRUCache(
            CAPACITY,
            # The cache refuses what is larger than itself.
            getsizeof=lambda profile: min(len(profile.columns) * COLUMN_BYTES, CAPACITY),
        )

    def get(self, session: Session, dataset_id: str) -> Profile:
        """Raises NotFound."""
        with self._lock:
            known = self._parsed.get(dataset_id)
        if known is not None:
            return known
        document = session.scalar(select(Dataset.profile).where(Dataset.id == dataset_id))
        if document is None:  # deleted just now
            raise NotFound(f"There is no dataset {dataset_id}.")
        profile = Profile.model_validate(document)
        with self._lock:
            self._parsed[dataset_id] = profile
        return profile
