"""Profiles of the tables that specs are about: each is parsed once, a dataset never changes."""

from __future__ import annotations

import threading
from collections import OrderedDict

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.storage.tables import Dataset
from models.tables.profile import Profile

KEPT = 4  # one of two thousand columns takes megabytes


class Profiles:
    """A cache for all threads of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parsed: OrderedDict[str, Profile] = OrderedDict()

    def get(self, session: Session, dataset_id: str) -> Profile:
        """Raises NotFound."""
        with self._lock:
            if dataset_id in self._parsed:
                self._parsed.move_to_end(dataset_id)
                return self._parsed[dataset_id]
        document = session.scalar(select(Dataset.profile).where(Dataset.id == dataset_id))
        if document is None:  # deleted a moment ago
            raise NotFound(f"There is no dataset {dataset_id}.")
        profile = Profile.model_validate(document)
        with self._lock:
            self._parsed[dataset_id] = profile
            if len(self._parsed) > KEPT:
                self._parsed.popitem(last=False)
        return profile
