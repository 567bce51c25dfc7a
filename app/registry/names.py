"""A short-lived cache of the models behind names: a database look-up takes longer than predicting
a row."""

from __future__ import annotations

from app.http.parameters import LATEST
from app.registry import repository
from app.storage.database import Database
from app.storage.recent import Recent
from app.storage.tables import Model

CHAMPION = "champion"  # used by requests that name no model
FRESH = 1.0  # s
MOST_NAMES = 1_000


class ModelNames:
    """A cache for all threads of the process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: Recent[tuple[str, str], Model] = Recent(FRESH, MOST_NAMES)

    def known(self, tenant: str, reference: str) -> Model | None:
        """The cached model of a name, without a database look-up."""
        return self._known.known((tenant, reference))

    def resolve(self, tenant: str, reference: str) -> Model:
        """A model by its id or by an alias, or the newest for `latest`; raises NotFound."""

        def look_up() -> Model:
            with self._database.reading() as session:
                return repository.get(session, tenant, reference)

        if reference == LATEST:
            return look_up()
        return self._known.get((tenant, reference), look_up)

    def forget(self) -> None:
        """Empty the cache after this process has changed an alias or a model."""
        self._known.forget()
