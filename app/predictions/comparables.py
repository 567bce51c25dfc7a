"""A cache of the tables that models were trained on, to compare rows with."""

from __future__ import annotations

from app.datasets import repository as datasets
from app.errors import Invalid, NotFound, TooLarge
from app.predictions.loading import LoadedOnce
from app.storage.blobs import ArtifactCorrupt, Blobs
from app.storage.database import Database
from app.storage.tables import Dataset, Model
from models.serving.comparables import TrainingRows, expected_bytes
from models.serving.manifest import Manifest
from models.tables.stored import TableDamaged

# Of the answer to a request: its rows × comparables × columns. A million take about a second.
MOST_CELLS = 1_000_000
# Products of numbers that a request takes to find its rows' comparables: about ten seconds of work.
MOST_PRODUCTS = 30_000_000_000


class ComparedTables:
    """A cache for all threads of the process.

    capacity : bytes that tables may take; larger ones are refused
    """

    def __init__(self, database: Database, blobs: Blobs, capacity: int) -> None:
        self._database = database
        self._blobs = blobs
        self._capacity = capacity
        self._cache: LoadedOnce[TrainingRows] = LoadedOnce(capacity, lambda rows: rows.memory_bytes)

    def is_ready(self, model: Model) -> bool:
        """Whether `get` would not have to read the table."""
        return self._cache.ready(model.id) is not None

    def get(self, tenant: str, model: Model, manifest: Manifest) -> TrainingRows:
        """The rows that the folds of a model saw; the model must have a likeness. Whether its
        dataset is still there is looked up each time.

        Raises
        ------
        NotFound: the dataset was deleted.
        TooLarge, ArtifactCorrupt
        """
        with self._database.reading() as session:
            try:
                dataset = datasets.get(session, tenant, model.dataset_id, profile=False)
            except NotFound:
                raise NotFound(
                    f"Dataset {model.dataset_id} was deleted, so there are no rows to compare "
                    "with. Predict without comparables."
                ) from None
        return self._cache.get(model.id, lambda: self._load(dataset, manifest))

    def _load(self, dataset: Dataset, manifest: Manifest) -> TrainingRows:
        needed = expected_bytes(manifest, dataset.rows)
        if needed > self._capacity:
            raise TooLarge(
                f"Comparing rows with dataset {dataset.id} takes about {needed:,} bytes of memory, "
                f"above the {self._capacity:,} that this server has for it. Predict without "
                "comparables."
            )
        try:
            with self._blobs.local_copy(dataset.parquet, dataset.parquet_sha256) as parquet:
                return TrainingRows(parquet, manifest)
        except TableDamaged as error:
            raise ArtifactCorrupt(dataset.parquet) from error


def refuse_too_many(rows: int, count: int, table: TrainingRows, columns: int) -> None:
    """Raises Invalid if so many rows cannot have `count` comparables each in one request."""
    by_answer = MOST_CELLS // (count * columns)
    by_work = MOST_PRODUCTS // (len(table) * table.space.width)
    most = max(1, min(by_answer, by_work))
    if rows > most:
        raise Invalid(
            f"With {count} comparables of {columns:,} columns from a table of {len(table):,} rows, "
            f"a request can have at most {most:,} {'row' if most == 1 else 'rows'}."
        )
