"""A job's history as server-sent events, the same live and replayed.

An event's `id` is its number in the history. The data of an `epoch` event holds the rows that the
history only refers to, so that a reader needs no other request to draw them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.sse import format_sse_event
from pydantic_core import to_json
from sqlalchemy import Integer, String, column, select, values
from sqlalchemy.orm import Session

from app.jobs import history
from app.storage.tables import EpochMetric, Event
from models.epochs import FLAT_COLUMNS

SPANS_AT_A_TIME = 2_000  # five parameters each; PostgreSQL takes 65,535, SQLite 32,766

# job, shard and fold
Place = tuple[str, int, int]
Row = dict[str, Any]


@dataclass(frozen=True)
class Message:
    """An event on the wire.

    is_end : the job has ended, and nothing follows
    """

    job_id: str
    sequence: int
    text: bytes
    is_end: bool


def read(session: Session, seen: Mapping[str, int], limit: int) -> list[Message]:
    """The events of several jobs that follow those seen, by job and number: `limit` at most.

    One query for all jobs, and one for the epochs in it, if any.
    """
    jobs = values(column("job_id", String), column("seen", Integer), name="watched")
    watched = jobs.data([*seen.items()]).cte()
    events = session.scalars(
        select(Event)
        .join(watched, (Event.job_id == watched.c.job_id) & (Event.sequence > watched.c.seen))
        .order_by(Event.job_id, Event.sequence)
        .limit(limit)
    ).all()
    epochs = _epochs(session, events)
    return [_message(event, epochs) for event in events]


def _message(event: Event, epochs: Mapping[Place, Sequence[Row]]) -> Message:
    data = {"at": f"{event.created_at:%Y-%m-%dT%H:%M:%S.%fZ}", **event.data}
    if event.kind == "epoch":
        spans = data.pop("folds")
        data["progress"] = data.get("progress")  # an earlier version did not store it
        data["epochs"] = [
            row
            for span in spans
            for row in epochs.get((event.job_id, data["shard"], span["fold"]), ())
            if span["first"] <= row["epoch"] <= span["last"]
        ]
    # In ASCII, because some clients take U+2028 for the end of a line.
    text = to_json(data, inf_nan_mode="null", ensure_ascii=True).decode()
    return Message(
        event.job_id,
        event.sequence,
        format_sse_event(data_str=text, event=event.kind, id=str(event.sequence)),
        is_end=history.is_end(event),
    )


def _epochs(session: Session, events: Sequence[Event]) -> dict[Place, list[Row]]:
    """The rows that events refer to, in the order of their epochs."""
    found: dict[Place, list[Row]] = {}
    spans = [*_spans(events)]
    for start in range(0, len(spans), SPANS_AT_A_TIME):
        names = ("shard", "fold", "first", "last")
        numbers = (column(name, Integer) for name in names)
        wanted = values(column("job_id", String), *numbers, name="wanted")
        span = wanted.data(spans[start : start + SPANS_AT_A_TIME]).cte().c
        metric = EpochMetric
        rows = session.execute(
            select(metric.job_id, metric.shard, *(getattr(metric, name) for name in FLAT_COLUMNS))
            .join_from(
                span.job_id.table,
                metric,
                (metric.job_id == span.job_id)
                & (metric.shard == span.shard)
                & (metric.fold == span.fold)
                & metric.epoch.between(span["first"], span["last"]),
            )
            .order_by(metric.epoch)
        )
        for job_id, shard, *cells in rows:
            row = dict(zip(FLAT_COLUMNS, cells, strict=True))
            found.setdefault((job_id, shard, row["fold"]), []).append(row)
    return found


def _spans(events: Sequence[Event]) -> Iterator[tuple[str, int, int, int, int]]:
    """From the first epoch of a fold to the last, over all events that name it."""
    spans: dict[Place, tuple[int, int]] = {}
    for event in events:
        for fold in event.data["folds"] if event.kind == "epoch" else ():
            place = (event.job_id, event.data["shard"], fold["fold"])
            first, last = spans.get(place, (fold["first"], fold["last"]))
            spans[place] = min(first, fold["first"]), max(last, fold["last"])
    return ((*place, *span) for place, span in spans.items())
