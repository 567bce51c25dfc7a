"""The metrics that Prometheus scrapes."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from app.storage.database import Database
from app.storage.tables import Job, State

log = logging.getLogger(__name__)


class Metrics:
    """The metrics of one process. `registry` already has those of its requests."""

    def __init__(self, registry: CollectorRegistry, database: Database) -> None:
        self._registry = registry
        ProcessCollector(registry=registry)
        registry.register(JobsCollector(database))
        self.predicted_rows = Counter(
            "foldhouse_predicted_rows", "Rows predicted.", registry=registry
        )

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


class JobsCollector(Collector):
    """Jobs by state, counted at each scrape because workers change them too."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[GaugeMetricFamily]:
        """Otherwise the registry would count jobs only to learn the metric's name."""
        return [_jobs_family()]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            with self._database.reading() as session:
                counted = select(Job.status, func.count()).group_by(Job.status)
                counts: dict[State, int] = dict(session.execute(counted).all())
        except SQLAlchemyError as error:
            # The other metrics matter most while the database is unreachable.
            log.warning("jobs could not be counted: %s", error)
            return
        family = _jobs_family()
        for state in State:
            family.add_metric([state], counts.get(state, 0))
        yield family


def _jobs_family() -> GaugeMetricFamily:
    return GaugeMetricFamily("foldhouse_jobs", "Jobs by state.", labels=["state"])
