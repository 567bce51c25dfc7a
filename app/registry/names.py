"""Which model a name stands for, remembered for a moment: looking it up in the database takes
longer than pricing a row."""

from __future__ import annotations

import threading

from cachetools import TTLCache

from app.http.parameters import LATEST
from app.registry import repository
from app.storage.database import Database
from app.storage.tables import Model

CHAMPION = "champion"  # asked where a request names no model
FRESH = 1.0  # s from a look-up until another process's change of an alias is seen
MOST_NAMES = 1_000


class ModelNames:
    """A cache for all threads of the process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._changes = 0
        self._known: TTLCache[tuple[str, str], Model, float] = TTLCache(MOST_NAMES, FRESH)

    def known(self, tenant: str, reference: str) -> Model | None:
        """What `resolve` answers without asking the database."""
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
                if changes == self._changes:  # else what was read may be old already
                    self._known[tenant, reference] = model
        return model

    def forget(self) -> None:
        """Called when this process has changed what names stand for."""
        with self._lock:
            self._changes += 1
            self._known.clear()
