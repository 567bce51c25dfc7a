"""Prices as JSON and as CSV."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from urllib.parse import quote

import numpy as np
from fastapi.responses import Response, StreamingResponse
from pydantic_core import to_json

from app.csv_text import Cell, csv_lines
from app.errors import Fault, Invalid, TooLarge
from app.media import CSV, JSON
from app.predictions.rows import SPOOLED_BYTES, Spooled, spool
from app.predictions.schemas import (
    COLUMNS,
    HIGH,
    LOW,
    PREDICTION,
    WARNINGS,
    PricingQuery,
)
from app.predictions.service import Block, Priced
from app.settings import Settings
from models.serving.predictor import Predictions
from models.serving.reference import Vector

BATCH_ROWS = 1_000
MAX_HEADER = 4_096  # characters; proxies cut or refuse longer ones


@dataclass(frozen=True)
class CsvLayout:
    """What a CSV answer looks like."""

    passthrough: list[str]
    name: str
    columns: list[str]

    @classmethod
    def of(cls, query: PricingQuery) -> CsvLayout:
        """Raises Invalid where there is no such column."""
        chosen = [part.strip() for text in query.columns for part in text.split(",")]
        unknown = [column for column in chosen if column not in COLUMNS]
        if unknown:
            raise Invalid(
                f"columns must be some of {', '.join(COLUMNS)}.",
                [Fault(column=column, detail="is no column of the answer") for column in unknown],
            )
        return cls(query.passthrough, query.name, chosen)

    @property
    def is_default(self) -> bool:
        return not self.passthrough and self.name == PREDICTION and self.columns == [*COLUMNS]

    def header(self, copied: list[str]) -> list[str]:
        """Raises Invalid where two columns would have one name: readers keep one of them."""
        names = [*copied, *(self.name if name == PREDICTION else name for name in self.columns)]
        repeated = [name for name, times in Counter(names).items() if times > 1]
        if repeated:
            raise Invalid(
                "The answer would have a column twice: change passthrough, name or columns.",
                [Fault(column=name, detail="stands twice in the answer") for name in repeated],
            )
        return names

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


def answer(
    priced: Priced, layout: CsvLayout, settings: Settings, *, as_csv: bool, explained: bool
) -> Response:
    """A PredictionsOut, or a CSV; it is whole before it is sent, so that what is wrong with the
    last row is told as an error.

    Raises
    ------
    Invalid: a layout for JSON, an explanation as CSV, or columns that the rows have not.
    """
    if not as_csv and not layout.is_default:
        raise Invalid(
            "passthrough, name and columns shape a CSV: ask for it with Accept: text/csv."
        )
    if as_csv and explained:
        raise Invalid("A CSV has no place for explanations: ask for JSON with Accept.")
    first = next(priced.blocks)
    blocks = chain([first], priced.blocks)
    headers = {"Vary": "Accept", **ignored_header(first.predictions.ignored)}
    media_type = CSV if as_csv else JSON
    if as_csv:
        names = layout.copied(first.rows.columns) if layout.passthrough else []
        lines = csv_lines(layout.header(names), _csv_batches(layout, names, blocks))
        pieces: Iterator[bytes] = map(str.encode, lines)
    else:
        pieces = _json(priced.model_id, priced.manifest.columns, blocks)
    file = spool(settings)
    with closing_on_error(file):
        for piece in pieces:
            file.write(piece)
            if file.tell() > settings.max_upload_bytes:
                raise TooLarge(
                    "The answer would be larger than max_upload_bytes, "
                    f"{settings.max_upload_bytes} bytes: send the rows in parts, with all columns "
                    "of the model, or ask for fewer with ?columns=prediction."
                )
    size = file.tell()
    file.seek(0)
    if size > SPOOLED_BYTES:
        headers["Content-Length"] = str(size)
        return StreamingResponse(_sent(file), media_type=media_type, headers=headers)
    # A stream switches threads for each piece: twice the time of a row's answer.
    with file:
        return Response(file.read(), media_type=media_type, headers=headers)


@contextmanager
def closing_on_error(file: Spooled) -> Iterator[None]:
    try:
        yield
    except BaseException:
        file.close()
        raise


def _sent(file: Spooled) -> Iterator[bytes]:
    with file:
        while chunk := file.read(SPOOLED_BYTES):
            yield chunk


def _json(model_id: str, columns: list[str], blocks: Iterable[Block]) -> Iterator[bytes]:
    """A PredictionsOut; dictionaries are written twice as fast as its models."""
    yield b'{"model_id":%s,"predictions":[' % json.dumps(model_id).encode()
    separator = b""
    for block in blocks:
        for start in range(0, len(block.rows), BATCH_ROWS):
            batch = _outcomes(columns, block.predictions, slice(start, start + BATCH_ROWS))
            yield separator + to_json(batch)[1:-1]
            separator = b","
    yield b"]}\n"


def _outcomes(columns: list[str], found: Predictions, part: slice) -> list[dict[str, object]]:
    """Of each row, a PredictionOut or an ExplainedOut."""
    coverage = found.coverage
    cells = zip(
        finite(found.values[part]),
        finite(found.low[part]),
        finite(found.high[part]),
        found.warnings[part],
        strict=True,
    )
    outcomes: list[dict[str, object]] = [
        {
            "value": value,
            "interval": {"low": low, "high": high, "coverage": coverage},
            "warnings": warnings,
        }
        for value, low, high, warnings in cells
    ]
    for outcome, told in zip(outcomes, (found.explanations or [])[part], strict=False):
        contributions = dict(zip(columns, told.contributions.tolist(), strict=True))
        outcome["explanation"] = {"base": told.base, "contributions": contributions}
    return outcomes


def _csv_batches(
    layout: CsvLayout, names: list[str], blocks: Iterable[Block]
) -> Iterator[list[list[Cell]]]:
    for block in blocks:
        found = block.predictions
        cells: dict[str, Sequence[Cell]] = {
            PREDICTION: finite(found.values),
            LOW: finite(found.low),
            HIGH: finite(found.high),
            WARNINGS: warning_texts(found),
        }
        copied = [block.rows.column(name) for name in names]
        columns = [*copied, *(cells[name] for name in layout.columns)]
        yield [list(row) for row in zip(*columns, strict=True)]


def warning_texts(found: Predictions) -> list[str]:
    """For each row, the code and the column of each of its warnings."""
    return [
        "; ".join(f"{odd.code} {odd.column or ''}".rstrip() for odd in warnings)
        for warnings in found.warnings
    ]


def ignored_header(ignored: list[str]) -> dict[str, str]:
    """Names are percent-encoded: a header is latin-1, and a name may hold a comma."""
    if not ignored:
        return {}
    names = ",".join(quote(name) for name in ignored)
    if len(names) > MAX_HEADER:
        names = names[:MAX_HEADER].rpartition(",")[0] + ",..."
    return {"X-Ignored-Columns": names}


def finite(values: Vector) -> list[float | None]:
    """null for what is no finite number."""
    numbers: list[float | None] = values.tolist()
    if np.isfinite(values).all():
        return numbers
    return [number if math.isfinite(number) else None for number in values.tolist()]
