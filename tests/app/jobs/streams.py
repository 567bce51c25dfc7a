"""Streams of events as a client reads them, and histories to stream."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from jobs_in_database import claim, submit
from known_jobs import result

from app.jobs import attempts, lifecycle
from app.jobs.attempts import Fence
from app.storage.database import Database
from app.storage.tables import Shard
from models.epochs import FoldEpoch

PROGRESS = {
    "fraction": 0.5, "epoch": 1, "max_epochs": 2, "folds_total": 1, "folds_active": 1, "eta_s": 3.0,
}  # fmt: skip


class Received(NamedTuple):
    id: int
    event: str
    data: dict[str, Any]


def received(lines: Iterable[str]) -> Iterator[Received]:
    """The events of a stream; what is cut off at its end is none."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "data" in fields:
            yield Received(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}


def begin(database: Database) -> tuple[Shard, Fence]:
    """A running job of one fold."""
    shard = submit(database, spec={"target": "SalePrice", "k_folds": 2, "max_epochs": 9})
    return shard, claim(database, shard).fence


def learn(database: Database, fence: Fence, *epochs: int) -> None:
    rows = [FoldEpoch(0, epoch, epoch / 8, None, 0.1) for epoch in epochs]
    with database.writing() as session:
        assert attempts.record_progress(session, fence, PROGRESS, rows)


def end(database: Database, fence: Fence) -> None:
    with database.writing() as session:
        assert lifecycle.succeed(session, fence, result(), {})
