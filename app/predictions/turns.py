"""Schedules predictions: single rows bypass the queue of tables, and a client that has gone is
skipped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event

from anyio import CancelScope
from anyio.to_thread import run_sync
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from app.predictions.comparables import ComparedTables
from app.predictions.rows import RowsBody
from app.predictions.service import Loaded, load, loaded
from app.resources import Resources
from models.objectives.base import Question

# Predicts and writes the answer; stops between two blocks once the event is set.
Predict = Callable[[Loaded, Event], Response]


async def predicted_in_turn(
    request: Request,
    resources: Resources,
    tenant: str,
    reference: str,
    body: RowsBody,
    question: Question,
    predict: Predict,
) -> Response:
    """Predict rows that have arrived, with the model that an id or an alias names. JSON is checked
    before the model is looked up.

    A few rows for a loaded model are predicted on the event loop. In a thread, a row takes twice as
    long, and with four clients four times, because threads wait for Python's lock. A few rows whose
    model must be looked up do not queue behind tables that take half a minute. Comparables need
    the database, and the first ones the whole table.

    Raises
    ------
    ClientDisconnect : the client disconnected before the answer
    NotFound, ArtifactCorrupt, and what `predict` does
    """
    gone = Event()
    is_light = body.is_small and not question.explain
    known = loaded(resources, tenant, reference)
    if question.comparables:
        is_light &= known is not None and resources[ComparedTables].is_ready(known.model)
    if known and known.predictor.is_quick and is_light and not question.comparables:
        return predict(known, gone)

    def look_up_and_predict() -> Response:
        if gone.is_set():
            raise ClientDisconnect
        body.check()
        return predict(known or load(resources, tenant, reference), gone)

    with CancelScope() as waiting:
        watching = asyncio.ensure_future(_watch(request, gone, waiting))
        try:
            limiter = None if is_light else resources.bulk
            return await run_sync(look_up_and_predict, limiter=limiter)
        finally:
            watching.cancel()
    raise ClientDisconnect


async def _watch(request: Request, gone: Event, waiting: CancelScope) -> None:
    """Cancel the wait for a turn once the client disconnects; a running thread checks `gone`."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    gone.set()
    waiting.cancel()
