"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypedDict

import httpx

from foldhouse_client.errors import FoldhouseError, is_away

FINISHED = ("succeeded", "failed", "cancelled")

STREAM_TIMEOUT = httpx.Timeout(5, read=40)  # s; the service sends something every 15
PATIENCE = 60.0  # s that a watched service may be unreachable, for example during a restart
PAUSE = 0.2  # s before a connection is opened again


class Event(TypedDict):
    """An event of a job. `id` counts from 1; the data depends on the kind, `event`."""

    id: int
    event: str
    data: dict[str, Any]


def parsed(lines: Iterable[str]) -> Iterator[Event]:
    """The events of a stream. One that was cut off is left out, comments too."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if line:
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            data = json.loads(fields["data"])
            yield {"id": int(fields["id"]), "event": fields["event"], "data": data}
        fields = {}


def is_end(event: Event) -> bool:
    """Whether the job has ended with it."""
    return event["event"] == "state" and event["data"]["status"] in FINISHED


def resumed(
    open_after: Callable[[int], AbstractContextManager[httpx.Response]],
    after: int,
    on_lost: Callable[[], None] | None,
) -> Iterator[Event]:
    """The events after a number, to the job's end, over as many connections as it takes.

    open_after : opens a stream of the events after a number
    on_lost : called once for each time that the service has become unreachable
    """
    lost_at: float | None = None
    while True:
        try:
            with open_after(after) as answer:
                lost_at = None
                if answer.status_code == httpx.codes.NO_CONTENT:
                    return
                for event in parsed(answer.iter_lines()):
                    after = event["id"]
                    yield event
                    if is_end(event):
                        return
        except FoldhouseError as error:
            if lost_at is None:
                lost_at = time.monotonic()
                if on_lost is not None and is_away(error):
                    on_lost()
            if not is_away(error) or time.monotonic() - lost_at > PATIENCE:
                raise
        time.sleep(PAUSE)
