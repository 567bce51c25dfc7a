"""The metrics that Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from app.operations import shared
from app.operations.collectors import DatabaseCollector, ProcessesCollector, WithoutModels
from app.storage.database import Database

MOST_MODELS = 100  # that a process names in its counts
OTHER_MODELS = "others"
LOAD_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)

# A second series for each counter, which Prometheus makes no use of. Counters that several
# processes share have none.
disable_created_metrics()


class Metrics:
    """The metrics of the service. `counted` has those that are counted as things happen."""

    def __init__(self, counted: CollectorRegistry, database: Database) -> None:
        self._counted = shared.counted(counted)
        self._database = database
        self._models: set[str] = set()
        self._predicted = Counter(
            "foldhouse_predicted_rows", "Rows predicted.", ["model"], registry=counted
        )
        self._warnings = Counter(
            "foldhouse_prediction_warnings",
            "Rows predicted with a warning, by its code.",
            ["model", "code"],
            registry=counted,
        )
        self.model_load_seconds = Histogram(
            "foldhouse_model_load_seconds",
            "Loading a model that was not in memory.",
            buckets=LOAD_SECONDS,
            registry=counted,
        )

    def predicted(self, model_id: str, rows: int, warned: Mapping[str, int]) -> None:
        """Count rows that were predicted; `warned`: those with a warning, by its code."""
        if model_id not in self._models:
            if len(self._models) < MOST_MODELS:
                self._models.add(model_id)
            else:
                model_id = OTHER_MODELS
        self._predicted.labels(model_id).inc(rows)
        for code, count in warned.items():
            self._warnings.labels(model_id, code).inc(count)

    def text(self, *, for_operator: bool) -> bytes:
        """In Prometheus' text format; only an operator sees the names of tenants and models."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self._counted if for_operator else WithoutModels(self._counted))
        registry.register(ProcessesCollector())
        registry.register(DatabaseCollector(self._database, by_tenant=for_operator))
        return generate_latest(registry)
