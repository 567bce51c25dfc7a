"""From rows to their prices."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace

from app.deps import Resources
from app.errors import Invalid, InvalidRows
from app.predictions.rows import JsonBody, Rows, RowsBody
from app.predictions.schemas import MOST_EXPLAINED
from app.validation import table_faults
from models.data.faults import TableFault
from models.serving.manifest import Manifest
from models.serving.predictor import Predictions, Predictor, Question, RowError

# Blocks that are priced and not yet written.
AHEAD = 4


@dataclass(frozen=True)
class Block:
    """Rows with what a model says of them."""

    rows: Rows
    predictions: Predictions


@dataclass(frozen=True)
class Priced:
    """Blocks of rows in order, priced as they are asked for."""

    model_id: str
    manifest: Manifest
    blocks: Iterator[Block]


def is_quick(
    resources: Resources, tenant: str, reference: str, body: RowsBody, question: Question
) -> bool:
    """Whether pricing neither takes long nor waits for a disk or a database.

    Then it is done on the event loop: through a thread a row takes twice as long, and with four
    clients four times, for threads wait for Python's lock in steps of 5 ms.
    """
    return (
        isinstance(body, JsonBody)
        and body.is_small
        and not question.explain
        and (model := resources.names.known(tenant, reference)) is not None
        and resources.predictors.has(model)
    )


def price(
    resources: Resources, tenant: str, reference: str, body: RowsBody, question: Question
) -> Priced:
    """Price rows with the model that an id or an alias names.

    Raises
    ------
    NotFound, ArtifactCorrupt; and, when a block is asked for, InvalidTable, InvalidRows, TooLarge
    and RequestValidationError.
    """
    model = resources.names.resolve(tenant, reference)
    predictor = resources.predictors.get(model)
    blocks = _blocks(resources, predictor, body, question)
    return Priced(
        model.id, predictor.manifest, _counted(resources, tenant, model.id, predictor, blocks)
    )


def _counted(
    resources: Resources, tenant: str, model_id: str, predictor: Predictor, blocks: Iterator[Block]
) -> Iterator[Block]:
    began = time.perf_counter()
    usage, manifest = resources.usage, predictor.manifest
    for block in blocks:
        resources.metrics.predicted_rows.inc(len(block.rows))
        usage.add_rows(tenant, model_id, manifest, block.predictions.encoded)
        yield block
    usage.add_request(tenant, model_id, manifest, time.perf_counter() - began)


def _blocks(
    resources: Resources, predictor: Predictor, body: RowsBody, question: Question
) -> Iterator[Block]:
    first = 0
    waiting: deque[Future[Block]] = deque()
    for rows in body.blocks(resources.settings):
        if question.explain and first + len(rows) > MOST_EXPLAINED:
            raise Invalid(f"At most {MOST_EXPLAINED} rows can be explained in one request.")
        if body.is_csv:
            waiting.append(resources.pricing.submit(_price, predictor, rows, question, first))
        else:
            yield _price(predictor, rows, question, first)
        first += len(rows)
        if len(waiting) > AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _price(predictor: Predictor, rows: Rows, question: Question, first: int) -> Block:
    """`first`: the place of the block's first row, from 0."""
    try:
        return Block(rows, rows.price(predictor, question))
    except RowError as error:
        error.faults = [_moved(fault, first) for fault in error.faults]
        raise InvalidRows(f"{error.detail}.", table_faults(error)) from None


def _moved(fault: TableFault, first: int) -> TableFault:
    return fault if fault.row is None else replace(fault, row=fault.row + first)
