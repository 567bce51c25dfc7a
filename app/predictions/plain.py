"""The shortest way of a few plain rows: JSON that asks for nothing else, for a model in memory.

Whatever is unusual about a request goes the way of `app.predictions.endpoints`, which gives the
same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from sys import getsizeof
from typing import Any

from cachetools import LRUCache
from fastapi import Request
from fastapi.responses import Response

from app.accounts.predicted_rows import PredictedRows
from app.http.media import JSON, content_type
from app.predictions import answers, service
from app.predictions.rows import SMALL_BYTES, SMALL_ROWS, load_json, names_of
from app.predictions.service import Loaded
from app.predictions.spooling import ANSWER_FLOOR
from app.resources import Resources
from app.settings import MIB
from models.objectives.base import PLAIN
from models.serving.encoding import Given
from models.serving.predictor import Predictions

PLANS_BYTES = 4 * MIB
CELLS = frozenset({str, int, float, bool, type(None)})
ANY_FORMAT = (None, "*/*", JSON)

Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What rows with the same columns have in common: their columns among the model's, and the
    beginning of the answer. `size`: its bytes and those of the columns' names, about."""

    given: Given
    head: bytes
    headers: dict[str, str]
    size: int

    @classmethod
    def of(cls, loaded: Loaded, names: Sequence[str], found: Predictions) -> Plan:
        facts = service.facts_of(loaded, found)
        head = answers.json_head(facts)
        headers = {"Vary": "Accept"} | facts.ignored_header()
        size = len(head) + sum(map(getsizeof, names))
        return cls(found.given, head, headers, min(size, PLANS_BYTES))


class Plans(LRUCache[tuple[str, ...], Plan]):
    """By the model, the name by which it is asked, and the columns. Only for the event loop."""

    def __init__(self) -> None:
        super().__init__(PLANS_BYTES, getsizeof=lambda plan: plan.size)


async def answered(
    request: Request, resources: Resources, tenant: str, reference: str
) -> Response | None:
    """The answer to rows that have nothing unusual about them; else None, and the body can be read
    again.

    Raises
    ------
    TooLarge, TooSlow, RequestValidationError, Invalid, InvalidRows, OverQuota
    """
    if not _is_plain(request):
        return None
    settings = resources.settings
    data = await request.body()
    loaded = service.loaded(resources, tenant, reference)
    if len(data) > SMALL_BYTES or loaded is None or not loaded.predictor.is_quick:
        return None
    most_rows = min(SMALL_ROWS, settings.max_predict_rows)
    if settings.max_upload_bytes < ANSWER_FLOOR:  # which limits answers too, and none is as long
        return None
    document = load_json(data, settings)
    rows = document.get("rows") if isinstance(document, dict) and len(document) == 1 else None
    if not isinstance(rows, list) or not 0 < len(rows) <= most_rows or not all(map(_is_row, rows)):
        return None
    names = [*rows[0]] if len(rows) == 1 else [*names_of(rows)]
    return _answer(resources, tenant, loaded, rows, names)


def _answer(
    resources: Resources, tenant: str, loaded: Loaded, rows: list[Row], names: list[str]
) -> Response:
    began = time.perf_counter()
    plans, key = resources[Plans], (loaded.model.id, loaded.reference, *names)
    plan = plans.get(key)
    resources[PredictedRows].take(tenant, len(rows))
    given = loaded.predictor.given(names) if plan is None else plan.given
    with service.told_by_row():
        found = loaded.predictor.predict_rows(rows, PLAIN, given)
    service.count_rows(resources, tenant, loaded, found)
    if plan is None:
        plan = plans[key] = Plan.of(loaded, names, found)
    content = answers.json_whole(plan.head, loaded.predictor.columns, found)
    service.count_request(resources, tenant, loaded, began)
    return Response(content, media_type=JSON, headers=plan.headers)


def _is_plain(request: Request) -> bool:
    headers = request.headers
    return (
        not request.scope["query_string"]
        and content_type(request)[0] == JSON
        and headers.get("Accept") in ANY_FORMAT
        and "Content-Encoding" not in headers
    )


def _is_row(row: object) -> bool:
    """Whether it is an object whose cells are texts, booleans, nulls and finite numbers."""
    if not isinstance(row, dict):
        return False
    cells = row.values()
    return CELLS.issuperset(map(type, cells)) and all(
        cell - cell == 0 for cell in cells if type(cell) is float
    )
