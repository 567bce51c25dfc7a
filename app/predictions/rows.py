"""The rows to predict, in the formats in which they arrive."""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from itertools import chain, islice
from typing import Annotated, Any, TypeVar

import pyarrow as pa
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import FailFast, TypeAdapter, ValidationError

from app.errors import InvalidTable, TooLarge, UnsupportedMedia
from app.http.csv_text import Cell
from app.http.form import FormReader
from app.http.json_document import Limits as DocumentLimits
from app.http.json_document import load
from app.http.json_text import Place
from app.http.media import CSV, FORM, JSON, content_type, refuse_compressed
from app.http.validation import table_faults
from app.predictions.schemas import JsonCell, JsonRow, PredictRequest
from app.predictions.spooling import Spooled, spool
from app.settings import Settings
from models.objectives.base import OnUnknown, Question
from models.serving.encoding import Given
from models.serving.predictor import Predictions, Predictor
from models.tables.table import Blocks, Limits, TableError

# Rows that are predicted together: enough to share a block's overhead, few enough to keep two cores
# busy. Wide tables have fewer, so that a block's numbers take a few megabytes.
BLOCK_ROWS = 4_096
BLOCK_CELLS = 400_000
# For JSON, which is checked and encoded in calls that hold Python's lock for two milliseconds each.
JSON_BLOCK_CELLS = 20_000
# For a JSON request: a row of two bytes has a cell in every column that any other row has.
MOST_CELLS = 20_000_000
# A JSON request within both limits is small: a few milliseconds to predict.
SMALL_BYTES = 16 * 1024
SMALL_ROWS = 4
MOST_LISTS = 20_000  # in addition to the rows: tensors of shape [N, 1] have one for each cell
MOST_VALUES = 1_000_000
NAMES_PER_COLUMN = 10  # names that a row may have, per column that a table may have

Checked = TypeVar("Checked")

REQUEST = TypeAdapter(PredictRequest)
# JSON's words where pydantic uses Python's.
JSON_WORDS = {
    "list_type": "Input should be a valid array",
    "dict_type": "Input should be an object",
}
ROWS: TypeAdapter[list[JsonRow]] = TypeAdapter(Annotated[list[JsonRow], FailFast()])
Row = Mapping[str, JsonCell]


@dataclass(frozen=True)
class JsonTable:
    """The rows of a document, and its options.

    names : columns that any row has
    rows : returns the rows from one position to another
    method : what to predict, among `Answering.methods`; None for the usual
    """

    count: int
    names: Collection[str]
    rows: Callable[[int, int], Sequence[Row]]
    coverage: float | None
    on_unknown: OnUnknown | None
    method: str | None = None


def refuse_too_many(rows: int, settings: Settings) -> None:
    """Raises TooLarge."""
    if rows > settings.max_predict_rows:
        raise TooLarge(
            f"There are {rows:,} rows, above max_predict_rows, {settings.max_predict_rows:,}. Send "
            "them in parts, or as a CSV."
        )


class JsonBody:
    """Rows as objects by column; `read` is called once, when they are first needed."""

    is_csv = False

    def __init__(self, read: Callable[[], JsonTable], size: int) -> None:
        self._read = read
        self.size = size

    @cached_property
    def table(self) -> JsonTable:
        """Raises what `read` does: TooLarge, Invalid, and RequestValidationError as FastAPI
        does."""
        return self._read()

    def check(self) -> None:
        """Raises what reading the rows does."""
        assert self.table

    @property
    def is_small(self) -> bool:
        """Whether it takes only milliseconds to predict; raises what reading the rows does."""
        return self.size <= SMALL_BYTES and self.table.count <= SMALL_ROWS

    def blocks(self, settings: Settings, predictor: Predictor) -> Iterator[JsonRows]:
        """Raises TooLarge, and what reading the rows does."""
        table = self.table
        refuse_too_many(table.count, settings)
        given = predictor.given(table.names)
        cells = table.count * (len(given.numeric) + len(given.categorical))
        if cells > MOST_CELLS:
            raise TooLarge(
                f"The rows have {cells:,} cells, most of them missing, above {MOST_CELLS:,}. Send "
                "them in parts, or as a CSV."
            )
        length = block_length(predictor, JSON_BLOCK_CELLS)
        for start in range(0, table.count, length):
            yield JsonRows(table, table.rows(start, start + length), given)


class CsvBody:
    """A CSV that was received into a file."""

    is_csv = True
    is_small = False

    def __init__(self, file: Spooled, separator: str | None) -> None:
        self._file = file
        self._separator = separator
        self.size = file.tell()

    def check(self) -> None:
        """Does nothing: a table is read when it is predicted."""

    def blocks(self, settings: Settings, predictor: Predictor) -> Iterator[CsvRows]:
        """The rows in order, in blocks; raises InvalidTable."""
        self._file.seek(0)
        length = block_length(predictor, BLOCK_CELLS)
        try:
            limits = Limits(settings.max_rows, settings.max_columns)
            for batch in Blocks(self._file, limits, self._separator):
                for start in range(0, batch.num_rows, length):
                    yield CsvRows(batch.slice(start, length))
        except TableError as error:
            raise InvalidTable(error.detail, table_faults(error)) from None


def block_length(predictor: Predictor, cells: int) -> int:
    """The number of rows of a block with at most `cells` cells or outputs of the model."""
    return max(1, min(BLOCK_ROWS, cells // predictor.cells_per_row))


class JsonRows:
    """Some of the rows of a document."""

    def __init__(self, table: JsonTable, rows: Sequence[Row], given: Given) -> None:
        self._table = table
        self._rows = rows
        self._given = given

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def columns(self) -> Collection[str]:
        return self._table.names

    def column(self, name: str) -> Sequence[Cell]:
        cells = (row.get(name) for row in self._rows)
        return [str(cell).lower() if isinstance(cell, bool) else cell for cell in cells]

    def predict(self, predictor: Predictor, question: Question) -> Predictions:
        """Predict; the document's options override the query's."""
        own = replace(
            question,
            coverage=self._table.coverage or question.coverage,
            on_unknown=self._table.on_unknown or question.on_unknown,
        )
        return predictor.predict_rows(self._rows, own, self._given)


class CsvRows:
    """A block of a table, with cells as texts."""

    def __init__(self, table: pa.RecordBatch) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @property
    def columns(self) -> Collection[str]:
        names: list[str] = self._table.schema.names
        return names

    def column(self, name: str) -> Sequence[Cell]:
        cells: list[Cell] = self._table[name].to_pylist()
        return cells

    def predict(self, predictor: Predictor, question: Question) -> Predictions:
        return predictor.predict_table(self._table, question)


Rows = JsonRows | CsvRows
RowsBody = JsonBody | CsvBody


@asynccontextmanager
async def received(
    request: Request,
    settings: Settings,
    read_json: Callable[[bytes, Settings], JsonTable],
    separator: str | None = None,
) -> AsyncIterator[RowsBody]:
    """The body of a request: a table, or JSON, which `read_json` reads.

    Parameters
    ----------
    separator: of a table, if the request names it.

    Raises
    ------
    UnsupportedMedia, TooLarge, TooSlow
    """
    refuse_compressed(request)
    media_type, options = content_type(request)
    if media_type == JSON:
        data = await request.body()
        yield JsonBody(partial(read_json, data, settings), len(data))
        return
    if media_type in (CSV, FORM):
        with spool(settings) as file:
            if media_type == CSV:
                async for chunk in request.stream():
                    file.write(chunk)
            else:
                form = FormReader(options.get(b"boundary"), file.write)
                async for chunk in request.stream():
                    form.write(chunk)
                form.finish()
            yield CsvBody(file, separator)
        return
    raise UnsupportedMedia(
        "Content-Type must be application/json, text/csv, or multipart/form-data with the rows as "
        f"`file`, got {media_type or 'none'}."
    )


def read_rows(data: bytes, settings: Settings) -> JsonTable:
    """The body of `/v1/predict`. Its rows are checked block by block, when they are predicted."""
    document = load_json(data, settings)
    rows = document.get("rows") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        rows = []
    elif len(rows) > SMALL_ROWS:
        document = {**document, "rows": rows[:SMALL_ROWS]}
    request = validated(REQUEST, document)
    for name, value in islice((request.model_extra or {}).items(), 1):
        unknown = {"type": "extra_forbidden", "loc": ("body", name), "input": value}
        raise RequestValidationError(
            [unknown | {"msg": "Extra inputs are not permitted"}], body={name: value}
        )
    return JsonTable(
        count=len(rows),
        names=names_of(rows),
        rows=partial(_checked, rows) if len(rows) > SMALL_ROWS else (lambda *_: request.rows),
        coverage=request.coverage,
        on_unknown=request.on_unknown,
    )


def _checked(rows: list[Any], start: int, stop: int) -> list[JsonRow]:
    """Raises RequestValidationError."""
    checked: list[JsonRow] = []
    for part in _parts(rows, start, stop):
        found: list[JsonRow] = validated(ROWS, rows[part], ["rows", part.start], {"rows": rows})
        checked += found
    return checked


def _parts(rows: list[Any], start: int, stop: int) -> Iterator[slice]:
    """Split rows so that no part has many more cells than a block. A row may have thousands of
    columns that the model does not use."""
    cells = 0
    for place in range(start, min(stop, len(rows))):
        cells += len(rows[place]) if isinstance(rows[place], dict) else 1
        if cells >= JSON_BLOCK_CELLS:
            yield slice(start, place + 1)
            start, cells = place + 1, 0
    if start < min(stop, len(rows)):
        yield slice(start, stop)


def names_of(rows: Iterable[object]) -> Collection[str]:
    """The columns that any row has, in order."""
    return dict.fromkeys(chain.from_iterable(row for row in rows if isinstance(row, dict)))


def load_json(data: bytes, settings: Settings) -> Any:
    """Parse a document with rows.

    Raises
    ------
    RequestValidationError : it is not JSON; as FastAPI does
    TooLarge, Invalid : as `load`
    """
    try:
        return load(data, _limits(settings.max_predict_rows, settings.max_columns))
    except ValueError as error:
        finding = {"type": "json_invalid", "loc": ("body",), "msg": "", "input": None}
        raise RequestValidationError([finding | {"ctx": {"error": str(error)}}]) from None


@cache
def _limits(max_rows: int, max_columns: int) -> DocumentLimits:
    return DocumentLimits(
        containers=max_rows + MOST_LISTS,
        values=MOST_VALUES,
        names=NAMES_PER_COLUMN * max_columns,
        advice=f"above max_predict_rows, {max_rows:,}: send the rows in parts, or as a CSV",
    )


def validated(
    model: TypeAdapter[Checked], value: object, at: Place | None = None, body: object = None
) -> Checked:
    """Validate a document, or the part of the document `body` at `at`.

    Raises
    ------
    RequestValidationError : as FastAPI does
    """
    try:
        return model.validate_python(value)
    except ValidationError as error:
        findings = []
        for finding in error.errors(include_url=False):
            place = [*finding["loc"]]
            if at is not None:
                *parts, first = at
                place = [*parts, int(first) + int(place[0]), *place[1:]]
            message = JSON_WORDS.get(finding["type"], finding["msg"])
            findings.append({**finding, "loc": ("body", *place), "msg": message})
        raise RequestValidationError(findings, body=value if body is None else body) from None
