"""A short-lived cache of the models behind names: a database look-up takes longer than predicting
a row."""

from __future__ import annotations

import threading

from cachetools import TTLCache

from app.http.parameters import LATEST
from app.registry import repository
from app.storage.database import Database
from app.storage.tables import Model

CHAMPION = "champion"  # used by requests that name no model
FRESH = 1.0  # s that an entry is kept, so a change by another process is seen after that
MOST_NAMES = 1_000


class ModelNames:
    """A cache for all threads of the process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._changes = 0
        self._known: TTLCache[tuple[str, str], Model, float] = TTLCache(MOST_NAMES, FRESH)

    def known(self, tenant: str, reference: str) -> Model | None:
        """The cached model of a name, without a database look-up."""
        with self._lock:
            try:
                return self._known[tenant, reference]  # `get` takes twice as long
            except KeyError:
                return None

    def resolve(self, tenant: str, reference: str) -> Model:
        """A model by its id or by an alias, or the newest for `latest`; raises NotFound."""
        found = self.known(tenant, reference)
        if found is not None:
            return found
        changes = self._changes
        with self._database.reading() as session:
            model = repository.get(session, tenant, reference)
        if reference != LATEST:
            with self._lock:
                if changes == self._changes:  # otherwise the model read may already be outdated
                    self._known[tenant, reference] = model
        return model

    def forget(self) -> None:
        """Empty the cache after this process has changed an alias or a model."""
        with self._lock:
            self._changes += 1
            self._known.clear()
