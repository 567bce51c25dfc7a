"""Prices as JSON and as CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Query
from fastapi.responses import Response, StreamingResponse
from pydantic import TypeAdapter

from app.csv_text import Cell, csv_lines
from app.errors import Fault, Invalid
from app.media import CSV, JSON
from app.parameters import PRINTABLE
from app.predictions.schemas import PredictionOut
from app.predictions.service import Priced
from models.serving.predictor import Predictions

PREDICTION, LOW, HIGH, WARNINGS = COLUMNS = ("prediction", "low", "high", "warnings")
PREDICTION_LIST = TypeAdapter(list[PredictionOut])
BATCH_ROWS = 1_000
MAX_HEADER = 4_096  # characters; proxies cut or refuse longer ones


@dataclass(frozen=True)
class CsvLayout:
    """What a CSV answer looks like."""

    passthrough: list[str]
    name: str
    columns: list[str]

    @property
    def is_default(self) -> bool:
        return not self.passthrough and self.name == PREDICTION and self.columns == [*COLUMNS]

    def copied(self, available: Sequence[str]) -> list[str]:
        """The columns to copy; a parameter that is no column's name may list several.

        Raises
        ------
        Invalid: there is no such column.
        """
        names = []
        for text in self.passthrough:
            names += [text] if text in available else [part.strip() for part in text.split(",")]
        absent = [name for name in names if name not in available]
        if absent:
            raise Invalid(
                "There is no such column to pass through.",
                [
                    Fault(column=name, detail="is in passthrough and not in the rows")
                    for name in absent
                ],
            )
        return names


async def _csv_layout(
    passthrough: Annotated[
        list[str] | None, Query(description="Columns of the rows to copy in front.")
    ] = None,
    name: Annotated[
        str,
        Query(
            min_length=1, max_length=200, pattern=PRINTABLE, description="Of the prices' column."
        ),
    ] = PREDICTION,
    columns: Annotated[
        list[str] | None, Query(description="Which columns to write: " + ", ".join(COLUMNS) + ".")
    ] = None,
) -> CsvLayout:
    chosen = [part.strip() for text in columns or COLUMNS for part in text.split(",")]
    unknown = [column for column in chosen if column not in COLUMNS]
    if unknown:
        raise Invalid(
            f"columns must be some of {', '.join(COLUMNS)}.",
            [Fault(column=column, detail="is no column of the answer") for column in unknown],
        )
    return CsvLayout(passthrough or [], name, chosen)


CsvLayoutDep = Annotated[CsvLayout, Depends(_csv_layout)]


def answer(priced: Priced, layout: CsvLayout, *, as_csv: bool) -> Response:
    """A PredictionsOut, or a CSV; a long one is written while it is sent.

    Raises
    ------
    Invalid: a layout for JSON, or of columns that the rows have not.
    """
    predictions = priced.predictions
    headers = _headers(predictions.ignored)
    if not as_csv:
        if not layout.is_default:
            raise Invalid(
                "passthrough, name and columns shape a CSV: ask for it with Accept: text/csv."
            )
        batches = _json_batches(priced.model_id, predictions)
        if len(predictions.values) <= BATCH_ROWS:
            # A stream switches threads for each piece: twice the time of a row's answer.
            return Response(next(batches), media_type=JSON, headers=headers)
        return StreamingResponse(batches, media_type=JSON, headers=headers)
    names = layout.copied(priced.rows.columns) if layout.passthrough else []
    copied = {name: priced.rows.column(name) for name in names}
    header = [*copied, *(layout.name if name == PREDICTION else name for name in layout.columns)]
    return StreamingResponse(
        csv_lines(header, _csv_batches(layout, list(copied.values()), predictions)),
        media_type=CSV,
        headers=headers,
    )


def _json_batches(model_id: str, predictions: Predictions) -> Iterator[bytes]:
    separator = b'{"model_id":%s,"predictions":[' % json.dumps(model_id).encode()
    rows = len(predictions.values)
    for start in range(0, rows, BATCH_ROWS):
        part = slice(start, start + BATCH_ROWS)
        batch = [
            PredictionOut(value=_finite(value), interval=None, warnings=warnings)
            for value, warnings in zip(
                predictions.values[part].tolist(), predictions.warnings[part], strict=True
            )
        ]
        end = b"]}" if start + BATCH_ROWS >= rows else b""
        yield separator + PREDICTION_LIST.dump_json(batch)[1:-1] + end
        separator = b","


def _csv_batches(
    layout: CsvLayout, copied: list[Sequence[Cell]], predictions: Predictions
) -> Iterator[list[list[Cell]]]:
    for start in range(0, len(predictions.values), BATCH_ROWS):
        part = slice(start, start + BATCH_ROWS)
        values = [_finite(value) for value in predictions.values[part].tolist()]
        cells: dict[str, Sequence[Cell]] = {
            PREDICTION: values,
            LOW: [None] * len(values),
            HIGH: [None] * len(values),
            WARNINGS: [
                "; ".join(f"{odd.code} {odd.column}" for odd in warnings)
                for warnings in predictions.warnings[part]
            ],
        }
        columns = [*(column[part] for column in copied), *(cells[name] for name in layout.columns)]
        yield [list(row) for row in zip(*columns, strict=True)]


def _headers(ignored: list[str]) -> dict[str, str]:
    """Names are percent-encoded: a header is latin-1, and a name may hold a comma."""
    headers = {"Vary": "Accept"}
    if ignored:
        names = ",".join(quote(name) for name in ignored)
        headers["X-Ignored-Columns"] = (
            names if len(names) <= MAX_HEADER else names[:MAX_HEADER].rpartition(",")[0] + ",..."
        )
    return headers


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
