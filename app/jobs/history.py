"""A job's history: its events, numbered 1, 2, 3 … in the order of the commits.

A reader who has seen an event has seen all events with smaller numbers, so a stream can resume from
any number. A database sequence would not do: PostgreSQL assigns its numbers before the commit, so a
smaller one may become visible after a larger one.

| kind | data, beside the place of the `shard` |
| --- | --- |
| state | `state` of the shard and `status` of the job after it, `attempt`, `detail` |
| epoch | `folds`: the `first` and `last` row of each in `epoch_metrics`; the shard's `progress` |
| fold | the result of a fold |
| result | `model_id`, `metrics` |
| trial | of a sweep: the `trial`, its `state`, `metric`, `value`, and as `detail` why it failed |

An attempt that resumes stores some epochs again, with another event. A write of progress adds an
event for each EPOCHS_PER_EVENT epochs, so that whoever reads an event with its rows is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.storage.tables import FINISHED, Event, Job, Shard, State
from models.epochs import FoldEpoch

Kind = Literal["state", "epoch", "fold", "result", "trial"]
Entry = tuple[Kind, dict[str, Any]]

EPOCHS_PER_EVENT = 200  # over all folds


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


def newest(session: Session, job_id: str) -> Event:
    """The last event of a job's history so far."""
    of_job = select(Event).where(Event.job_id == job_id)
    return session.scalars(of_job.order_by(Event.sequence.desc()).limit(1)).one()


def is_end(event: Event) -> bool:
    """Whether the job has ended with this event, and none will follow."""
    return event.kind == "state" and event.data["status"] in FINISHED


def state(shard: Shard, status: State, detail: str | None) -> Entry:
    """The entry about a shard's new state, and the job's status after it."""
    data = {"state": shard.state, "status": status, "attempt": shard.attempt, "detail": detail}
    return "state", data


def epochs(stored: Sequence[FoldEpoch], progress: dict[str, Any]) -> list[Entry]:
    """The entries about stored epochs of a shard; they refer to their rows."""
    parts = range(0, len(stored), EPOCHS_PER_EVENT)
    return [_spans(stored[start : start + EPOCHS_PER_EVENT], progress) for start in parts]


def results(result: dict[str, Any]) -> list[Entry]:
    """That a shard's run is over: each fold's end, then what they came to together."""
    folds: list[Entry] = [("fold", fold) for fold in result["folds"]]
    return [*folds, ("result", {name: result[name] for name in ("model_id", "metrics")})]


def _spans(stored: Iterable[FoldEpoch], progress: dict[str, Any]) -> Entry:
    spans: dict[int, list[int]] = {}
    for row in stored:
        first, last = spans.get(row.fold, (row.epoch, row.epoch))
        spans[row.fold] = [min(first, row.epoch), max(last, row.epoch)]
    folds = [{"fold": fold, "first": first, "last": last} for fold, (first, last) in spans.items()]
    return "epoch", {"folds": folds, "progress": progress}


def _insert(
    session: Session, tenant: str, job_id: str, first: int, entries: Iterable[Entry]
) -> None:
    rows = [
        {"tenant": tenant, "job_id": job_id, "sequence": number, "kind": kind, "data": data}
        for number, (kind, data) in enumerate(entries, start=first)
    ]
    session.connection().execute(insert(Event), rows)
