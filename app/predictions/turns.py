"""When a request is priced: rows past the tables, tables in turn, and nothing for who has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event

from anyio import CancelScope
from anyio.to_thread import run_sync
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from app.predictions.rows import RowsBody
from app.predictions.service import Loaded, load, loaded
from app.resources import Resources
from models.serving.predictor import Question

# Prices and writes the answer; it ends between two blocks once the event is set.
Price = Callable[[Loaded, Event], Response]


async def priced_in_turn(
    request: Request,
    resources: Resources,
    tenant: str,
    reference: str,
    body: RowsBody,
    question: Question,
    price: Price,
) -> Response:
    """The answer to rows that have come, for the model that an id or an alias names. What is wrong
    with JSON is found before the model is looked up.

    A few rows for a model that is at hand are priced on the event loop: through a thread a row
    takes twice as long, and with four clients four times, since threads wait for Python's lock.
    A few rows whose model must be looked up do not queue behind tables that take half a minute.

    Raises
    ------
    ClientDisconnect : the client went before it was answered
    NotFound, ArtifactCorrupt, and what `price` does
    """
    gone = Event()
    is_light = body.is_small and not question.explain
    known = loaded(resources, tenant, reference)
    if known and known.predictor.is_quick and is_light:
        return price(known, gone)

    def look_up_and_price() -> Response:
        if gone.is_set():
            raise ClientDisconnect
        body.check()
        return price(known or load(resources, tenant, reference), gone)

    with CancelScope() as waiting:
        watching = asyncio.ensure_future(_watch(request, gone, waiting))
        try:
            limiter = None if is_light else resources.bulk
            return await run_sync(look_up_and_price, limiter=limiter)
        finally:
            watching.cancel()
    raise ClientDisconnect


async def _watch(request: Request, gone: Event, waiting: CancelScope) -> None:
    """Ends the wait for a turn once the client has gone; a thread that works looks at `gone`."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    gone.set()
    waiting.cancel()
