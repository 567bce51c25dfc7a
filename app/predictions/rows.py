"""The rows to price, in the ways in which they arrive."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import pyarrow as pa
from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import from_json

from app.csv_text import Cell
from app.errors import InvalidTable, TooLarge, UnsupportedMedia
from app.form import FORM, FormReader
from app.media import CSV, JSON, content_type
from app.predictions.schemas import OnUnknown, PredictRequest
from app.settings import Settings
from app.validation import table_faults
from models.data.table import Limits, TableError, read_text
from models.serving.predictor import Predictions, Predictor


@dataclass(frozen=True)
class RowsBody:
    """A body that has arrived and is not parsed yet: that is work for a thread."""

    data: bytes
    is_csv: bool

    def parse(self, settings: Settings) -> JsonRows | CsvRows:
        """Raises InvalidTable, TooLarge, or RequestValidationError as FastAPI does elsewhere."""
        if self.is_csv:
            table = _parse_csv(self.data, settings)
            _check_size(table.num_rows, settings)
            return CsvRows(table)
        request = _parse_json(self.data)
        _check_size(len(request.rows), settings)
        return JsonRows(request)


class JsonRows:
    """Objects by column."""

    def __init__(self, request: PredictRequest) -> None:
        self._rows = request.rows
        self._on_unknown = request.on_unknown

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(name for row in self._rows for name in row))

    def column(self, name: str) -> Sequence[Cell]:
        cells = (row.get(name) for row in self._rows)
        return [str(cell).lower() if isinstance(cell, bool) else cell for cell in cells]

    def price(self, predictor: Predictor, on_unknown: OnUnknown) -> Predictions:
        return predictor.predict_rows(self._rows, self._on_unknown or on_unknown)


class CsvRows:
    """A table of texts as they are written."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @property
    def columns(self) -> list[str]:
        names: list[str] = self._table.column_names
        return names

    def column(self, name: str) -> Sequence[Cell]:
        cells: list[Cell] = self._table[name].to_pylist()
        return cells

    def price(self, predictor: Predictor, on_unknown: OnUnknown) -> Predictions:
        return predictor.predict_table(self._table, on_unknown)


async def _rows_body(request: Request) -> RowsBody:
    media_type, options = content_type(request)
    if media_type in (JSON, CSV):
        return RowsBody(await request.body(), is_csv=media_type == CSV)
    if media_type == FORM:
        file = bytearray()
        form = FormReader(options.get(b"boundary"), file.extend)
        async for chunk in request.stream():
            form.write(chunk)
        form.finish()
        return RowsBody(bytes(file), is_csv=True)
    raise UnsupportedMedia(
        "Send rows as application/json or text/csv, or as the file of multipart/form-data; "
        f"Content-Type is {media_type or 'missing'}."
    )


RowsBodyDep = Annotated[RowsBody, Depends(_rows_body)]


def _parse_json(data: bytes) -> PredictRequest:
    try:
        return PredictRequest.model_validate_json(data)
    except ValidationError as error:
        findings = error.errors(include_url=False)
        is_json = findings[0]["type"] != "json_invalid"
        raise RequestValidationError(
            [{**finding, "loc": ("body", *finding["loc"])} for finding in findings],
            body=from_json(data) if is_json else None,
        ) from None


def _check_size(rows: int, settings: Settings) -> None:
    if rows > settings.max_predict_rows:
        raise TooLarge(
            f"There are {rows:,} rows, above max_predict_rows, {settings.max_predict_rows:,}: send "
            "them in parts."
        )


def _parse_csv(data: bytes, settings: Settings) -> pa.Table:
    try:
        return read_text(io.BytesIO(data), Limits(settings.max_rows, settings.max_columns))
    except TableError as error:
        raise InvalidTable(error.detail, table_faults(error)) from None
