"""The shortest way of a few plain rows: JSON that asks for nothing else, for a model in memory.

Whatever is unusual or wrong about a request goes the way of `app.predictions.endpoints`, which
gives the same bytes, but for the last digits of rows that are run together. That takes twice as
long, of which FastAPI's routing is the most.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from sys import getsizeof
from typing import Any

from cachetools import LRUCache
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import ProgrammingError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.accounts.predicted_rows import PredictedRows
from app.errors import Problem, TooSlow
from app.http.bodies import in_time
from app.http.deps import SENDER
from app.http.media import JSON, parsed
from app.http.observe import Header
from app.http.problems import problem_response
from app.predictions import answers, service
from app.predictions.endpoints import predict, predict_with_model, router
from app.predictions.rows import SMALL_BYTES, SMALL_ROWS, load_json, names_of
from app.predictions.service import Loaded
from app.predictions.spooling import ANSWER_FLOOR
from app.predictions.together import Together
from app.registry.names import CHAMPION
from app.resources import Resources
from app.settings import MIB
from app.storage.database import DATABASE_AWAY
from models.serving.encoding import Given
from models.serving.predictor import Predictions

PLANS_BYTES = 4 * MIB
PLAN_BYTES = 1_300  # of a plan's own objects
CELLS = frozenset({str, int, float, bool, type(None)})
ANY_FORMAT = (b"*/*", JSON.encode())
PATH = re.compile(r"/v1/(?:predict|models/(?P<model>[A-Za-z0-9_.-]{1,64})/predict)")
# By which a request is counted.
ROUTES = {getattr(route, "endpoint", None): route for route in router.routes}

Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What rows with the same columns have in common: their columns among the model's, and the
    beginning of the answer. `size`: its bytes and those of the columns' names, about."""

    given: Given
    head: bytes
    headers: list[Header]
    size: int

    @classmethod
    def of(cls, loaded: Loaded, names: Sequence[str], found: Predictions) -> Plan:
        facts = service.facts_of(loaded, found)
        head = answers.json_head(facts)
        told = {"Vary": "Accept", "Content-Type": JSON} | facts.ignored_header()
        headers = [(name.lower().encode(), value.encode()) for name, value in told.items()]
        size = PLAN_BYTES + len(head) + sum(map(getsizeof, names))
        return cls(found.given, head, headers, min(size, PLANS_BYTES))


class Plans(LRUCache[tuple[str, ...], Plan]):
    """By the model, the name by which it is asked, and the columns. Only for the event loop."""

    def __init__(self) -> None:
        super().__init__(PLANS_BYTES, getsizeof=lambda plan: plan.size)


class PlainRows:
    """ASGI middleware, around nothing but the routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_plain(scope):
            await self._app(scope, receive, send)
            return
        asked = PATH.fullmatch(scope["path"])
        if asked is None:
            await self._app(scope, receive, send)
            return
        reference = asked["model"]
        scope["route"] = ROUTES[predict_with_model if reference else predict]
        try:
            first = await in_time(receive)
        except TooSlow as error:
            await problem_response(Request(scope), error)(scope, receive, send)
            return
        found = None
        if first["type"] == "http.request" and not first.get("more_body", False):
            found = await _answer(
                scope["app"].state.resources, reference or CHAMPION, first["body"]
            )
        if found is None:
            await self._app(scope, _again(first, receive), send)
            return
        headers, content = found
        headers = [*headers, (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


async def _answer(
    resources: Resources, reference: str, data: bytes
) -> tuple[list[Header], bytes] | None:
    """Headers and content, or None: another way has to be taken, or has to tell what is wrong."""
    sender = SENDER.get()
    assert sender is not None
    settings = resources.settings
    loaded = service.loaded(resources, sender.tenant, reference)
    if loaded is None or not loaded.predictor.is_quick or len(data) > SMALL_BYTES:
        return None
    if settings.max_upload_bytes < ANSWER_FLOOR:  # which limits answers too, and none is as long
        return None
    try:
        document = load_json(data, settings)
        rows = document.get("rows") if isinstance(document, dict) and len(document) == 1 else None
        most = min(SMALL_ROWS, settings.max_predict_rows)
        if not isinstance(rows, list) or not 0 < len(rows) <= most or not all(map(_is_row, rows)):
            return None
        return await _predicted(resources, sender.tenant, loaded, rows)
    except (Problem, RequestValidationError, *DATABASE_AWAY, ProgrammingError, MemoryError):
        return None


async def _predicted(
    resources: Resources, tenant: str, loaded: Loaded, rows: list[Row]
) -> tuple[list[Header], bytes]:
    began = time.perf_counter()
    names = [*rows[0]] if len(rows) == 1 else [*names_of(rows)]
    plans, key = resources[Plans], (loaded.model.id, loaded.reference, *names)
    plan = plans.get(key)
    predictor = loaded.predictor
    given = predictor.given(names) if plan is None else plan.given
    with service.told_by_row():
        encoded = predictor.encoded(rows, given)
    resources[PredictedRows].take(tenant, len(rows))  # the last that may refuse them
    if predictor.is_light:
        outputs = predictor.run(encoded.numbers, encoded.codes)
    else:
        outputs = await resources[Together].run(predictor, encoded)
    found = predictor.answered(encoded, given, outputs)
    service.count_rows(resources, tenant, loaded, found)
    if plan is None:
        plan = plans[key] = Plan.of(loaded, names, found)
    content = answers.json_whole(plan.head, predictor.columns, found)
    service.count_request(resources, tenant, loaded, began)
    return plan.headers, content


def _is_plain(scope: Scope) -> bool:
    """Whether nothing but its path and its body say what a request asks for."""
    if scope["method"] != "POST" or scope["query_string"]:
        return False
    types = 0
    for name, value in scope["headers"]:
        if name == b"content-type":
            types += 1
            if parsed(value)[0] != JSON:
                return False
        elif (name == b"accept" and value not in ANY_FORMAT) or name == b"content-encoding":
            return False
    return types == 1


def _again(first: Message, receive: Receive) -> Receive:
    """Receives the same part of the body once more, and then the others."""
    waiting = [first]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again


def _is_row(row: object) -> bool:
    """Whether it is an object whose cells are texts, booleans, nulls and finite numbers."""
    if not isinstance(row, dict):
        return False
    cells = row.values()
    return CELLS.issuperset(map(type, cells)) and all(
        cell - cell == 0 for cell in cells if type(cell) is float
    )
