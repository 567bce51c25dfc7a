"""From rows to their prices."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace

from app.deps import Resources
from app.errors import Invalid, InvalidRows
from app.predictions.rows import Rows, RowsBody
from app.predictions.schemas import MOST_EXPLAINED
from app.storage.tables import Model
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


@dataclass(frozen=True)
class Loaded:
    """A model that can price."""

    model: Model
    predictor: Predictor


def load(resources: Resources, tenant: str, reference: str) -> Loaded:
    """The model that an id or an alias names; raises NotFound and ArtifactCorrupt."""
    model = resources.names.resolve(tenant, reference)
    return Loaded(model, resources.predictors.get(model))


def loaded(resources: Resources, tenant: str, reference: str) -> Loaded | None:
    """The same, where it can be had without waiting for the database or the disk."""
    model = resources.names.known(tenant, reference)
    predictor = None if model is None else resources.predictors.ready(model)
    return None if model is None or predictor is None else Loaded(model, predictor)


def price(
    resources: Resources, tenant: str, loaded: Loaded, body: RowsBody, question: Question
) -> Priced:
    """Price rows with a model.

    Raises
    ------
    InvalidTable, InvalidRows, TooLarge and RequestValidationError, when a block is asked for.
    """
    model, predictor = loaded.model, loaded.predictor
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
