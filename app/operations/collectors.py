"""Metrics that are looked up at each scrape."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial

from prometheus_client import Metric, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.operations import shared
from app.operations.readiness import WORKER_SEEN
from app.storage.database import Database, database_now
from app.storage.tables import Job, Shard, State, WebhookDelivery, Worker

Labels = tuple[tuple[str, str], ...]

log = logging.getLogger(__name__)

MOST_TENANTS = 100  # with metrics of their own: those with most shards
OTHERS = ""  # the tenant of a sum; to Prometheus, a label with this value is none


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


class DatabaseCollector(Collector):
    """Counts rows, because other processes change them too.

    by_tenant : whether to name tenants
    """

    def __init__(self, database: Database, *, by_tenant: bool) -> None:
        self._database = database
        self._by_tenant = by_tenant

    def collect(self) -> Iterator[Metric]:
        try:
            with self._database.reading() as session:
                found = [
                    _jobs(session),
                    *self._shards(session),
                    *_workers(session),
                    _messages(session),
                ]
        except SQLAlchemyError as error:
            # The other metrics matter most while the database is unreachable.
            log.warning("rows could not be counted: %s", error)
            return
        yield from found

    def _shards(self, session: Session) -> list[Metric]:
        rows = session.execute(
            select(Shard.tenant, Shard.state, func.count(), func.min(Shard.due_at))
            .where(Shard.state.in_((State.QUEUED, State.RUNNING)))
            .group_by(Shard.tenant, Shard.state)
            .order_by(func.count().desc())
        ).all()
        now = session.scalars(select(database_now())).one()
        tenants = [*dict.fromkeys(row.tenant for row in rows)] if self._by_tenant else []
        named = {*tenants[:MOST_TENANTS]}
        counts = Counter({(State.QUEUED, OTHERS): 0, (State.RUNNING, OTHERS): 0})
        oldest: dict[str, datetime] = {OTHERS: now}
        for tenant, state, count, due_at in rows:
            shown = tenant if tenant in named else OTHERS
            counts[state, shown] += count
            if state is State.QUEUED:
                oldest[shown] = min(due_at, oldest.get(shown, now))
        shards = GaugeMetricFamily(
            "foldhouse_shards", "Shards that wait or run.", labels=["state", "tenant"]
        )
        for (state, tenant), total in counts.items():
            shards.add_metric([state, tenant], total)
        waiting = GaugeMetricFamily(
            "foldhouse_oldest_waiting_seconds",
            "How long the shard that has waited longest could have been claimed.",
            labels=["tenant"],
        )
        for tenant, since in oldest.items():
            waiting.add_metric([tenant], (now - since).total_seconds())
        return [shards, waiting]


def _jobs(session: Session) -> Metric:
    by_state = select(Job.status, func.count()).group_by(Job.status)
    counts: dict[State, int] = dict(session.execute(by_state).all())
    family = GaugeMetricFamily("foldhouse_jobs", "Jobs and sweeps by state.", labels=["state"])
    for state in State:
        family.add_metric([state], counts.get(state, 0))
    return family


def _workers(session: Session) -> list[Metric]:
    count, slots = session.execute(
        select(func.count(), func.coalesce(func.sum(Worker.slots), 0)).where(
            Worker.seen_at > database_now(-WORKER_SEEN)
        )
    ).one()
    return [
        GaugeMetricFamily("foldhouse_workers", "Workers that are alive.", value=count),
        GaugeMetricFamily("foldhouse_slots", "Shards that they can run at a time.", value=slots),
    ]


def _messages(session: Session) -> Metric:
    count = session.scalars(select(func.count()).select_from(WebhookDelivery)).one()
    return GaugeMetricFamily(
        "foldhouse_webhook_messages", "Messages that no webhook has taken yet.", value=count
    )


class WithoutModels(Collector):
    """What another collector has, summed over models."""

    def __init__(self, of: Collector) -> None:
        self._of = of

    def collect(self) -> Iterator[Metric]:
        for family in self._of.collect():
            if not any("model" in sample.labels for sample in family.samples):
                yield family
                continue
            sums: defaultdict[tuple[str, Labels], float] = defaultdict(float)
            for sample in family.samples:
                kept = [(label, of) for label, of in sample.labels.items() if label != "model"]
                sums[sample.name, tuple(kept)] += sample.value
            summed = Metric(family.name, family.documentation, family.type)
            for (name, labels), value in sums.items():
                summed.add_sample(name, dict(labels), value)
            yield summed
