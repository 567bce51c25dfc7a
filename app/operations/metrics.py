"""The metrics that Prometheus scrapes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from app.operations import shared
from app.storage.database import Database
from app.storage.tables import Job, State

log = logging.getLogger(__name__)

# A second series for each counter, which Prometheus makes no use of. Counters that several
# processes share have none.
disable_created_metrics()


class Metrics:
    """The metrics of the service. `counted` has those that are counted as things happen."""

    def __init__(self, counted: CollectorRegistry, database: Database) -> None:
        self._parts = (shared.counted(counted), ProcessesCollector(), JobsCollector(database))
        self.predicted_rows = Counter(
            "foldhouse_predicted_rows", "Rows predicted.", registry=counted
        )

    def text(self) -> bytes:
        """In Prometheus' text format."""
        registry = CollectorRegistry(auto_describe=False)
        for part in self._parts:
            registry.register(part)
        return generate_latest(registry)


class ProcessesCollector(Collector):
    """The usual metrics of a process, for each that answers requests."""

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for pid in shared.processes():
            for own in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                family = families.setdefault(
                    own.name, Metric(own.name, own.documentation, own.type)
                )
                for sample in own.samples:
                    family.add_sample(sample.name, {"pid": str(pid)}, sample.value)
        return families.values()


class JobsCollector(Collector):
    """Jobs by state, counted at each scrape because workers change them too."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            with self._database.reading() as session:
                by_state = select(Job.status, func.count()).group_by(Job.status)
                counts: dict[State, int] = dict(session.execute(by_state).all())
        except SQLAlchemyError as error:
            # The other metrics matter most while the database is unreachable.
            log.warning("jobs could not be counted: %s", error)
            return
        family = GaugeMetricFamily("foldhouse_jobs", "Jobs by state.", labels=["state"])
        for state in State:
            family.add_metric([state], counts.get(state, 0))
        yield family
