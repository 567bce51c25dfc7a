"""Turns rows into predictions."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from threading import Event

from fastapi.exceptions import RequestValidationError
from starlette.requests import ClientDisconnect

from app.accounts.predicted_rows import PredictedRows
from app.errors import Invalid, InvalidRows
from app.http.parameters import LATEST
from app.http.validation import table_faults
from app.monitoring.usage import Usage
from app.operations.metrics import Metrics
from app.predictions.comparables import ComparedTables, refuse_too_many
from app.predictions.facts import Facts
from app.predictions.predictors import Predictors
from app.predictions.rows import JsonBody, Rows, RowsBody
from app.predictions.schemas import MOST_EXPLAINED
from app.registry.names import ModelNames
from app.resources import Resources
from app.storage.tables import Model
from models.objectives.base import Column, Question, Unanswerable
from models.serving.comparables import Comparable, TrainingRows
from models.serving.predictor import Predictions, Predictor, RowError
from models.tables.faults import TableFault

# Blocks that are predicted but not yet written.
AHEAD = 4
MISSING_COLUMN = "missing_column"  # how monitoring counts rows that lack a column of the model
# Bytes of weights that a core processes for a request's explanations: about ten seconds of work.
EXPLAINED_BYTES = 500_000_000_000


@dataclass(frozen=True)
class Block:
    """Rows with their predictions, and the training rows most like each, if requested."""

    rows: Rows
    predictions: Predictions
    comparables: list[list[Comparable]] | None = None


@dataclass(frozen=True)
class Predicted:
    """Blocks of rows in order, predicted on demand.

    facts : facts about all rows
    columns : columns of the answer
    usual : those that a CSV has unless the request names columns
    features : columns that the model uses
    request_bytes : size of the rows in the request
    """

    facts: Facts
    columns: tuple[Column, ...]
    usual: list[Column]
    features: list[str]
    request_bytes: int
    blocks: Iterator[Block]


@dataclass(frozen=True)
class Loaded:
    """A loaded model, and the name under which it was requested."""

    model: Model
    predictor: Predictor
    reference: str

    @property
    def alias(self) -> str | None:
        return None if self.reference in (self.model.id, LATEST) else self.reference


def load(resources: Resources, tenant: str, reference: str) -> Loaded:
    """The model that an id or an alias names; raises NotFound and ArtifactCorrupt."""
    model = resources[ModelNames].resolve(tenant, reference)
    return Loaded(model, resources[Predictors].get(model), reference)


def loaded(resources: Resources, tenant: str, reference: str) -> Loaded | None:
    """The same, if neither the database nor the disk is needed."""
    model = resources[ModelNames].known(tenant, reference)
    predictor = None if model is None else resources[Predictors].ready(model)
    if model is None or predictor is None or not resources[PredictedRows].is_known(tenant):
        return None
    return Loaded(model, predictor, reference)


def predict(
    resources: Resources,
    tenant: str,
    loaded: Loaded,
    body: RowsBody,
    question: Question,
    gone: Event,
) -> Predicted:
    """Predict rows with a model; the first block is predicted at once.

    Raises
    ------
    InvalidTable, InvalidRows, TooLarge, OverQuota and RequestValidationError, and ClientDisconnect
    once `gone` is set, here or when a block is requested. With comparables also NotFound and
    ArtifactCorrupt.
    """
    model, predictor = loaded.model, loaded.predictor
    try:
        predictor.check(question)
    except Unanswerable as error:
        finding = {"type": "value_error", "loc": ("query", error.option), "input": None}
        raise RequestValidationError([finding | {"ctx": {"error": str(error)}}]) from None
    table = None
    if question.comparables and isinstance(body, JsonBody):
        table = resources[ComparedTables].get(tenant, model, predictor.manifest)
        columns = len(predictor.manifest.columns)
        refuse_too_many(body.table.count, question.comparables, table, columns)
    blocks = _blocks(resources, tenant, predictor, body, question, gone, table)
    blocks = _counted(resources, tenant, loaded, blocks)
    first = next(blocks)
    return Predicted(
        facts=facts_of(loaded, first.predictions),
        columns=predictor.columns,
        usual=predictor.answering.usual(question),
        features=predictor.manifest.columns,
        request_bytes=body.size,
        blocks=chain([first], blocks),
    )


def facts_of(loaded: Loaded, found: Predictions) -> Facts:
    return Facts(
        model_id=loaded.model.id,
        target=loaded.predictor.manifest.target,
        unit=loaded.predictor.manifest.unit,
        alias=loaded.alias,
        missing_columns=found.given.missing,
        ignored_columns=found.given.ignored,
        warnings=found.about_all,
    )


def _counted(
    resources: Resources, tenant: str, loaded: Loaded, blocks: Iterator[Block]
) -> Iterator[Block]:
    began = time.perf_counter()
    for block in blocks:
        count_rows(resources, tenant, loaded, block.predictions)
        yield block
    count_request(resources, tenant, loaded, began)


def count_rows(resources: Resources, tenant: str, loaded: Loaded, found: Predictions) -> None:
    """Count rows that were predicted, for monitoring and for Prometheus."""
    model_id, manifest = loaded.model.id, loaded.predictor.manifest
    of_all = [warning.code for warning in found.about_all]
    lacking = [MISSING_COLUMN] if found.given.missing else []
    codes = [*of_all, *lacking]
    warned = resources[Usage].add_rows(tenant, model_id, manifest, found.encoded, codes, found.bins)
    resources[Metrics].predicted(model_id, len(found.encoded.numbers), warned)


def count_request(resources: Resources, tenant: str, loaded: Loaded, began: float) -> None:
    """Count a request that was answered. `began`: by `time.perf_counter`."""
    seconds = time.perf_counter() - began
    resources[Usage].add_request(tenant, loaded.model.id, loaded.predictor.manifest, seconds)


def _blocks(
    resources: Resources,
    tenant: str,
    predictor: Predictor,
    body: RowsBody,
    question: Question,
    gone: Event,
    table: TrainingRows | None,
) -> Iterator[Block]:
    first = 0
    waiting: deque[Future[Block]] = deque()
    try:
        for rows in body.blocks(resources.settings, predictor):
            if gone.is_set():
                raise ClientDisconnect
            if question.explain and first + len(rows) > (most := most_explained(predictor)):
                raise Invalid(
                    f"This model of {len(predictor.manifest.columns):,} columns can explain at "
                    f"most {most} {'row' if most == 1 else 'rows'} in one request."
                )
            resources[PredictedRows].take(tenant, len(rows))
            if body.is_csv:
                waiting.append(
                    resources.predicting.submit(_predict, predictor, rows, question, first)
                )
            else:
                yield _compared(_predict(predictor, rows, question, first), question, table)
            first += len(rows)
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for block in waiting:
            block.cancel()


def most_explained(predictor: Predictor) -> int:
    """The most rows per request: an explanation's cost grows with the columns and weights."""
    return max(1, min(MOST_EXPLAINED, EXPLAINED_BYTES // predictor.explanation_bytes))


def _predict(predictor: Predictor, rows: Rows, question: Question, first: int) -> Block:
    """`first`: the position of the block's first row, from 0."""
    with told_by_row(first):
        return Block(rows, rows.predict(predictor, question))


@contextmanager
def told_by_row(first: int = 0) -> Iterator[None]:
    """Raises InvalidRows for a RowError."""
    try:
        yield
    except RowError as error:
        error.faults = [_moved(fault, first) for fault in error.faults]
        raise InvalidRows(f"{error.detail}.", table_faults(error)) from None


def _compared(block: Block, question: Question, table: TrainingRows | None) -> Block:
    if table is None:
        return block
    encoded = block.predictions.encoded
    found = table.most_like(encoded.numbers, encoded.codes, question.comparables)
    return replace(block, comparables=found)


def _moved(fault: TableFault, first: int) -> TableFault:
    return fault if fault.row is None else replace(fault, row=fault.row + first)
