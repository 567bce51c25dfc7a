"""A job's history: its events, numbered 1, 2, 3 … in the order of the commits.

A reader who has seen an event has seen all events with smaller numbers, so a stream can resume from
any number. A database sequence would not do: PostgreSQL assigns its numbers before the commit, so a
smaller one may become visible after a larger one.

| kind | data, beside the place of the `shard` |
| --- | --- |
| state | `state` of the shard and `status` of the job after it, `attempt`, `detail` |
| epoch | `folds`: of each fold the `first` and `last` epoch stored, rows of `epoch_metrics` |
| fold | the result of a fold |
| result | `model_id`, `metrics` |

An attempt that resumes stores some epochs again, with another event. Each write of progress adds at
most one event of epochs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.storage.tables import Event, Job, Shard, State
from models.epochs import FoldEpoch

Kind = Literal["state", "epoch", "fold", "result"]
Entry = tuple[Kind, dict[str, Any]]


def begin(session: Session, tenant: str, job_id: str) -> None:
    """Add the first event, of a new job whose shards are all queued."""
    data = {"shard": None, "state": State.QUEUED, "status": State.QUEUED}
    _insert(session, tenant, job_id, 1, [("state", data | {"attempt": 0, "detail": None})])


def append(session: Session, shard: Shard, entries: Iterable[Entry]) -> None:
    """Add events of a shard to its job's history, in the transaction that makes them true.

    The caller has locked the shard's row. This locks the job's row until the commit, so that the
    numbers have no gaps and appear in order.
    """
    session.execute(select(Job.id).where(Job.id == shard.job_id).with_for_update(key_share=True))
    last = session.scalar(select(func.max(Event.sequence)).where(Event.job_id == shard.job_id))
    placed = [(kind, {"shard": shard.place, **data}) for kind, data in entries]
    _insert(session, shard.tenant, shard.job_id, (last or 0) + 1, placed)


def state(shard: Shard, status: State, detail: str | None) -> Entry:
    """The entry about a shard's new state, and the job's status after it."""
    data = {"state": shard.state, "status": status, "attempt": shard.attempt, "detail": detail}
    return "state", data


def epochs(stored: Iterable[FoldEpoch]) -> Entry:
    """The entry about stored epochs of a shard; it refers to their rows."""
    spans: dict[int, list[int]] = {}
    for row in stored:
        first, last = spans.get(row.fold, (row.epoch, row.epoch))
        spans[row.fold] = [min(first, row.epoch), max(last, row.epoch)]
    folds = [{"fold": fold, "first": first, "last": last} for fold, (first, last) in spans.items()]
    return "epoch", {"folds": folds}


def results(result: dict[str, Any]) -> list[Entry]:
    """That a shard's run is over: each fold's end, then what they came to together."""
    folds: list[Entry] = [("fold", fold) for fold in result["folds"]]
    return [*folds, ("result", {name: result[name] for name in ("model_id", "metrics")})]


def _insert(
    session: Session, tenant: str, job_id: str, first: int, entries: Iterable[Entry]
) -> None:
    rows = [
        {"tenant": tenant, "job_id": job_id, "sequence": number, "kind": kind, "data": data}
        for number, (kind, data) in enumerate(entries, start=first)
    ]
    session.connection().execute(insert(Event), rows)
