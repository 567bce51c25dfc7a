"""Counts what models are asked, cheaply enough for every request: rows are only put aside while a
price is made, and counted by the thousand."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import numpy as np
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from app.ids import new_id
from app.storage.database import Database, upsert
from app.storage.tables import Model, ModelUsage
from models.data.design import Codes, Numbers
from models.serving.encoding import EncodedRows
from models.serving.manifest import Manifest, bins

logger = logging.getLogger(__name__)

# Upper bounds of the durations that are told apart; longer ones come last.
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
PUT_ASIDE = 1_000  # rows of a model that wait to be counted
INTERVAL = 10.0  # s between two writings


@dataclass
class _Day:
    """One model's counts on one day."""

    tenant: str
    manifest: Manifest
    requests: int = 0
    rows: int = 0
    seconds: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    warnings: Counter[str] = field(default_factory=Counter)
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    waiting: list[tuple[Numbers, Codes]] = field(default_factory=list)
    rows_waiting: int = 0
    changed: bool = True

    def count(self) -> None:
        """Sort the rows that were put aside into their bins."""
        if not self.waiting:
            return
        numbers = np.concatenate([numbers for numbers, _ in self.waiting])
        codes = np.concatenate([codes for _, codes in self.waiting])
        self.waiting, self.rows_waiting = [], 0
        for feature, column in zip(self.manifest.numeric, numbers.T, strict=True):
            self._add(feature.name, bins(column, feature.edges), len(feature.edges) + 2)
        for level, column in zip(self.manifest.categorical, codes.T, strict=True):
            self._add(level.name, column, len(level.levels) + 1)

    def _add(self, name: str, places: np.ndarray, size: int) -> None:
        counts = np.bincount(places, minlength=size)
        self.columns[name] = self.columns[name] + counts if name in self.columns else counts


class Usage:
    """The counts of one process, which threads share, and the thread that writes them down.

    Each writing replaces the process's own row of that model and day, so none is counted twice.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._process = new_id("api")
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._days: dict[tuple[str, date], _Day] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_writing, name="usage", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what is left."""
        self._stopping.set()
        self._thread.join()

    def add_rows(
        self,
        tenant: str,
        model_id: str,
        manifest: Manifest,
        rows: EncodedRows,
        of_all: Iterable[str] = (),
    ) -> None:
        """`of_all`: codes of the warnings that all of the rows share."""
        told: Counter[str] = Counter(
            code for odd in rows.warnings if odd for code in {one.code for one in odd}
        )
        told.update(dict.fromkeys(of_all, len(rows.numbers)))
        with self._lock:
            day = self._day(tenant, model_id, manifest)
            day.rows += len(rows.numbers)
            day.warnings.update(told)
            day.waiting.append((rows.numbers, rows.codes))
            day.rows_waiting += len(rows.numbers)
            if day.rows_waiting >= PUT_ASIDE:
                day.count()

    def add_request(self, tenant: str, model_id: str, manifest: Manifest, seconds: float) -> None:
        with self._lock:
            day = self._day(tenant, model_id, manifest)
            day.requests += 1
            day.seconds[bisect_left(SECONDS, seconds)] += 1

    def write(self) -> None:
        """Store what has changed; while the database is away it is kept."""
        with self._writing:
            try:
                self._write()
            except SQLAlchemyError as error:
                logger.warning("the use of models is not written down yet: %s", error)

    def _write(self) -> None:
        today = _today()
        with self._lock:
            # Days that are over and written down.
            for key in [k for k, day in self._days.items() if k[1] != today and not day.changed]:
                del self._days[key]
            changed = {key: day for key, day in self._days.items() if day.changed}
            rows = []
            for (model_id, of), day in changed.items():
                day.count()
                day.changed = False
                rows.append(self._row(model_id, of, day))
        try:
            self._store(rows)
        except BaseException:
            with self._lock:
                for day in changed.values():
                    day.changed = True
            raise

    def _store(self, rows: list[dict[str, object]]) -> None:
        if not rows:
            return
        named = {str(row["model_id"]) for row in rows}
        kept = ("requests", "rows", "seconds", "columns", "warnings")
        with self._database.writing() as session:
            # A model may have been deleted since it priced.
            there = set(session.scalars(select(Model.id).where(Model.id.in_(named))))
            rows = [row for row in rows if row["model_id"] in there]
            if rows:
                statement = upsert(session, ModelUsage)
                session.execute(
                    statement.on_conflict_do_update(
                        index_elements=("model_id", "day", "process"),
                        set_={column: statement.excluded[column] for column in kept},
                    ),
                    rows,
                )

    def _row(self, model_id: str, of: date, day: _Day) -> dict[str, object]:
        return {
            "tenant": day.tenant,
            "model_id": model_id,
            "day": of,
            "process": self._process,
            "requests": day.requests,
            "rows": day.rows,
            "seconds": list(day.seconds),
            "columns": {name: counts.tolist() for name, counts in day.columns.items()},
            "warnings": dict(day.warnings),
        }

    def _day(self, tenant: str, model_id: str, manifest: Manifest) -> _Day:
        key = (model_id, _today())
        day = self._days.get(key)
        if day is None:
            day = self._days[key] = _Day(tenant, manifest)
        day.changed = True
        return day

    def _keep_writing(self) -> None:
        while not self._stopping.wait(INTERVAL):
            self.write()
        self.write()


def _today() -> date:
    return datetime.now(UTC).date()
