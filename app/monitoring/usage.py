"""Counts the use of models, cheaply enough for every request. A request only puts its rows aside.
They are counted by the thousand; those of small requests by the thread that stores the counts."""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from app.ids import new_id
from app.storage.database import Database, upsert
from app.storage.tables import Model, ModelUsage
from models.data.design import Codes, Numbers
from models.objectives import OBJECTIVES
from models.serving.encoding import EncodedRows
from models.serving.manifest import Manifest

logger = logging.getLogger(__name__)

# Upper bounds of the bins of durations; longer ones are in a last bin.
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
PUT_ASIDE = 1_000  # rows of a model that wait to be counted
FEW = (
    100  # smaller requests leave counting to the writing thread: one row costs as much as hundreds
)
INTERVAL = 10.0  # s between two writes
NONE = np.empty(0, np.int64)


class Bins:
    """Counts a model's rows: numbers by their column's bins, codes one by one, and predictions if
    the model has shares of them. It takes all columns at once, because a loop over two thousand
    delays a row's prediction by 30 ms."""

    def __init__(self, manifest: Manifest) -> None:
        self._numeric, self._categorical = manifest.numeric, manifest.categorical
        self._target = manifest.target
        self._predicted = len(OBJECTIVES[manifest.task].answering(manifest).shares)
        most = max((len(feature.edges) for feature in self._numeric), default=0)
        self._edges = np.full((most, len(self._numeric)), np.inf)
        for place, feature in enumerate(self._numeric):
            self._edges[: len(feature.edges), place] = feature.edges
        sizes = [len(feature.levels) + 1 for feature in self._categorical]
        self._ends = np.cumsum(sizes, dtype=np.int64)
        self._starts = self._ends - np.array(sizes, np.int64)

    def nothing(self) -> Counts:
        """The counts of no rows."""
        return self.count(np.empty((0, len(self._numeric))), np.empty((0, len(self._starts)), int))

    def count(self, numbers: Numbers, codes: Codes, predicted: Codes = NONE) -> Counts:
        """numbers (N, D), codes (N, C) and the bins of predictions (N,)."""
        known = len(numbers) - np.isnan(numbers).sum(0)
        above = [(numbers > edge).sum(0) for edge in self._edges]
        # Bin b is (edge b - 1, edge b]; bins beyond a column's own edges stay empty.
        bins = -np.diff([known, *above, np.zeros_like(known)], axis=0)
        size = int(self._ends[-1]) if len(self._ends) else 0
        levels = np.bincount((codes + self._starts).ravel(), minlength=size)
        predictions = np.bincount(predicted, minlength=self._predicted)
        return Counts(bins, len(numbers) - known, levels, predictions)

    def by_column(self, counts: Counts) -> dict[str, list[int]]:
        """Counts in the order of the model's `shares`: missing and unknown come last. Those of the
        predictions have the target's name, which no column has."""
        found = {}
        for feature, own, missing in zip(
            self._numeric, counts.bins.T.tolist(), counts.missing.tolist(), strict=True
        ):
            found[feature.name] = [*own[: len(feature.edges) + 1], missing]
        levels = counts.levels.tolist()
        for level, start, end in zip(
            self._categorical, self._starts.tolist(), self._ends.tolist(), strict=True
        ):
            found[level.name] = levels[start:end]
        if self._predicted:
            found[self._target] = counts.predictions.tolist()
        return found


@dataclass(frozen=True)
class Counts:
    """bins (B, D) and missing (D,) of numeric columns; levels of all others, concatenated; and the
    predictions (P,)."""

    bins: np.ndarray
    missing: np.ndarray
    levels: np.ndarray
    predictions: np.ndarray

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.bins + other.bins,
            self.missing + other.missing,
            self.levels + other.levels,
            self.predictions + other.predictions,
        )


class _Day:
    """One model's counts on one day."""

    def __init__(self, tenant: str, manifest: Manifest) -> None:
        self.tenant = tenant
        self.bins = Bins(manifest)
        self.requests = self.rows = self.rows_waiting = 0
        self.seconds = [0] * (len(SECONDS) + 1)
        self.warnings: Counter[str] = Counter()
        self.counts = self.bins.nothing()
        self.waiting: list[tuple[Numbers, Codes, Codes]] = []
        self.changed = True


class Usage:
    """The counts of one process, shared by its threads, and the thread that stores them.

    Each write replaces the process's own row for a model and day, so nothing is counted twice.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._process = new_id("api")
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._days: dict[tuple[str, date], _Day] = {}
        self._stopping = False
        self._due = threading.Event()  # set when rows wait to be counted, or to stop
        self._thread = threading.Thread(target=self._keep_writing, name="usage", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what is left."""
        self._stopping = True
        self._due.set()
        self._thread.join()

    def add_rows(
        self,
        tenant: str,
        model_id: str,
        manifest: Manifest,
        rows: EncodedRows,
        of_all: Iterable[str] = (),
        predicted: Codes | None = None,
    ) -> Counter[str]:
        """Returns the rows with a warning, by its code. `of_all`: codes of the warnings that apply
        to all rows; predicted (N,): the bins of the predictions, if the model has shares of them.
        """
        warned: Counter[str] = Counter(
            code for odd in rows.warnings if odd for code in {one.code for one in odd}
        )
        warned.update(dict.fromkeys(of_all, len(rows.numbers)))
        with self._lock:
            day = self._day(tenant, model_id, manifest)
            day.rows += len(rows.numbers)
            day.warnings.update(warned)
            day.waiting.append((rows.numbers, rows.codes, NONE if predicted is None else predicted))
            day.rows_waiting += len(rows.numbers)
            is_due = day.rows_waiting >= PUT_ASIDE
        if is_due and len(rows.numbers) < FEW:
            self._due.set()  # such requests may run on the event loop
        elif is_due:
            self._count(day)
        return warned

    def add_request(self, tenant: str, model_id: str, manifest: Manifest, seconds: float) -> None:
        with self._lock:
            day = self._day(tenant, model_id, manifest)
            day.requests += 1
            day.seconds[bisect_left(SECONDS, seconds)] += 1

    def write(self) -> None:
        """Store what has changed, or keep it while the database is unreachable."""
        with self._writing:
            try:
                self._write()
            except SQLAlchemyError as error:
                logger.warning("model use could not be stored, will try again: %s", error)

    def _write(self) -> None:
        today = _today()
        with self._lock:
            # Past days that are stored.
            for key in [k for k, day in self._days.items() if k[1] != today and not day.changed]:
                del self._days[key]
            changed = {key: day for key, day in self._days.items() if day.changed}
            for day in changed.values():
                day.changed = False
        rows = []
        for (model_id, of), day in changed.items():
            self._count(day)
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
            # A model may have been deleted since it predicted.
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

    def _count(self, day: _Day) -> None:
        """Count the rows that were put aside; does not hold the lock while counting."""
        with self._lock:
            waiting, day.waiting, day.rows_waiting = day.waiting, [], 0
        if not waiting:
            return
        counts = day.bins.count(*map(np.concatenate, zip(*waiting, strict=True)))
        with self._lock:
            day.counts += counts
            day.changed = True

    def _row(self, model_id: str, of: date, day: _Day) -> dict[str, object]:
        with self._lock:
            counts, seconds, warnings = day.counts, [*day.seconds], dict(day.warnings)
            requests, rows = day.requests, day.rows
        return {
            "tenant": day.tenant,
            "model_id": model_id,
            "day": of,
            "process": self._process,
            "requests": requests,
            "rows": rows,
            "seconds": seconds,
            "columns": day.bins.by_column(counts) if rows else {},
            "warnings": warnings,
        }

    def _day(self, tenant: str, model_id: str, manifest: Manifest) -> _Day:
        key = (model_id, _today())
        day = self._days.get(key)
        if day is None:
            day = self._days[key] = _Day(tenant, manifest)
        day.changed = True
        return day

    def _keep_writing(self) -> None:
        due = time.monotonic() + INTERVAL
        while not self._stopping:
            if self._due.wait(due - time.monotonic()):
                self._due.clear()
                with self._lock:
                    days = list(self._days.values())
                for day in days:
                    self._count(day)
            else:
                self.write()
                due = time.monotonic() + INTERVAL
        self.write()


def _today() -> date:
    return datetime.now(UTC).date()
