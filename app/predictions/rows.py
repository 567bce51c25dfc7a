"""The rows to price, in the ways in which they arrive."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import TypeVar

import pyarrow as pa
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from app.csv_text import Cell
from app.errors import InvalidTable, TooLarge, UnsupportedMedia
from app.form import FormReader
from app.json_text import refuse_repeated
from app.media import CSV, FORM, JSON, content_type, refuse_compressed
from app.predictions.schemas import PredictRequest
from app.settings import Settings
from app.validation import table_faults
from models.data.table import Blocks, Limits, TableError
from models.serving.predictor import Predictions, Predictor, Question

# Rows of a CSV that are priced together: enough to share the cost of a block, few enough that two
# cores have both something to do.
BLOCK_ROWS = 4_096
# Objects no longer and no more than that are small: a few milliseconds to price.
SMALL_BYTES = 16 * 1024
SMALL_ROWS = 4
SPOOLED_BYTES = 1024 * 1024  # a longer file is written to the disk

Spooled = tempfile.SpooledTemporaryFile[bytes]
Document = TypeVar("Document", bound=BaseModel)


class JsonBody:
    """Rows as objects by column; `read` gives them in order."""

    is_csv = False

    def __init__(
        self, read: Callable[[Settings], Iterator[PredictRequest]], *, is_small: bool = False
    ) -> None:
        self._read = read
        self.is_small = is_small

    def blocks(self, settings: Settings) -> Iterator[JsonRows]:
        """Raises what `read` does: TooLarge, and RequestValidationError as FastAPI does."""
        return map(JsonRows, self._read(settings))


class CsvBody:
    """A CSV that has arrived in a file."""

    is_csv = True
    is_small = False

    def __init__(self, file: Spooled, separator: str | None) -> None:
        self._file = file
        self._separator = separator

    def blocks(self, settings: Settings) -> Iterator[CsvRows]:
        """The rows in order, in blocks; raises InvalidTable."""
        self._file.seek(0)
        try:
            limits = Limits(settings.max_rows, settings.max_columns)
            for batch in Blocks(self._file, limits, self._separator):
                for start in range(0, batch.num_rows, BLOCK_ROWS):
                    yield CsvRows(batch.slice(start, BLOCK_ROWS))
        except TableError as error:
            raise InvalidTable(error.detail, table_faults(error)) from None


class JsonRows:
    """Objects by column."""

    def __init__(self, request: PredictRequest) -> None:
        self._rows = request.rows
        self._request = request

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(name for row in self._rows for name in row))

    def column(self, name: str) -> Sequence[Cell]:
        cells = (row.get(name) for row in self._rows)
        return [str(cell).lower() if isinstance(cell, bool) else cell for cell in cells]

    def price(self, predictor: Predictor, question: Question) -> Predictions:
        """What the document asks for comes before what the address does."""
        request = self._request
        own = Question(
            coverage=request.coverage or question.coverage,
            on_unknown=request.on_unknown or question.on_unknown,
            explain=question.explain,
        )
        return predictor.predict_rows(self._rows, own)


class CsvRows:
    """A block of a table, texts as they are written."""

    def __init__(self, table: pa.RecordBatch) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @property
    def columns(self) -> list[str]:
        names: list[str] = self._table.schema.names
        return names

    def column(self, name: str) -> Sequence[Cell]:
        cells: list[Cell] = self._table[name].to_pylist()
        return cells

    def price(self, predictor: Predictor, question: Question) -> Predictions:
        return predictor.predict_table(self._table, question)


Rows = JsonRows | CsvRows
RowsBody = JsonBody | CsvBody


@asynccontextmanager
async def received(
    request: Request,
    settings: Settings,
    read_json: Callable[[bytes, Settings], Iterator[PredictRequest]],
    separator: str | None = None,
) -> AsyncIterator[RowsBody]:
    """The body of a request: a table or, as `read_json` reads it, JSON.

    Parameters
    ----------
    separator: of a table, where somebody named it.

    Raises
    ------
    UnsupportedMedia, TooLarge, TooSlow
    """
    refuse_compressed(request)
    media_type, options = content_type(request)
    if media_type == JSON:
        data = await request.body()
        is_small = len(data) <= SMALL_BYTES and data.count(b"{") <= 1 + SMALL_ROWS
        yield JsonBody(partial(read_json, data), is_small=is_small)
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
        "Send rows as application/json or text/csv, or as the file of multipart/form-data; "
        f"Content-Type is {media_type or 'missing'}."
    )


def read_rows(data: bytes, settings: Settings) -> Iterator[PredictRequest]:
    request = parse_document(PredictRequest, data)
    for name, value in islice((request.model_extra or {}).items(), 1):
        unknown = {"type": "extra_forbidden", "loc": ("body", name), "input": value}
        raise RequestValidationError(
            [unknown | {"msg": "Extra inputs are not permitted"}], body={name: value}
        )
    refuse_repeated(data, len(request.model_fields_set) + sum(map(len, request.rows)))
    check_row_count(len(request.rows), settings)
    yield request


def check_row_count(rows: int, settings: Settings) -> None:
    """Raises TooLarge."""
    if rows > settings.max_predict_rows:
        raise TooLarge(
            f"There are {rows:,} rows, above max_predict_rows, {settings.max_predict_rows:,}: "
            "send them in parts, or as a CSV."
        )


def spool(settings: Settings) -> Spooled:
    """A file without a name, in memory while it is small; it is gone when it is closed."""
    return tempfile.SpooledTemporaryFile(SPOOLED_BYTES, dir=str(settings.root))


def parse_document(model: type[Document], data: bytes) -> Document:
    """Raises RequestValidationError as FastAPI does."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        findings = error.errors(include_url=False)
        is_json = findings[0]["type"] != "json_invalid"
        raise RequestValidationError(
            [{**finding, "loc": ("body", *finding["loc"])} for finding in findings],
            body=from_json(data) if is_json else None,
        ) from None
