"""Writes predictions as JSON or CSV."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from fastapi.responses import Response
from pydantic_core import to_json

from app.errors import Fault, Invalid
from app.http.csv_text import Cell, csv_lines
from app.http.media import CSV, JSON
from app.predictions.schemas import PredictQuery
from app.predictions.service import Block, Predicted
from app.predictions.spooling import AnswerFiles
from app.settings import Settings
from models.objectives.base import Column, Vector
from models.serving.predictor import Predictions
from models.tables.faults import RowWarning

BATCH_ROWS = 1_000
ALL = slice(None)
WARNINGS = "warnings"
MOST_WARNINGS = 20  # of a row; one more says how many there are besides


@dataclass(frozen=True)
class CsvLayout:
    """The columns of a CSV answer."""

    passthrough: list[str]
    columns: list[str]
    names: list[str]  # of the columns, in the CSV
    is_default: bool

    @classmethod
    def of(cls, query: PredictQuery, columns: Sequence[Column]) -> CsvLayout:
        """The layout for a model with these columns; raises Invalid for an unknown column."""
        known = [*(column.name for column in columns), WARNINGS]
        usual = [*(column.name for column in columns if column.is_default), WARNINGS]
        chosen = [part.strip() for text in query.columns for part in text.split(",")] or usual
        unknown = [column for column in chosen if column not in known]
        if unknown:
            raise Invalid(
                f"columns must be some of {', '.join(known)}.",
                [
                    Fault(column=column, detail="is not a column of the answer")
                    for column in unknown
                ],
            )
        first = known[0]
        names = [(query.name or name) if name == first else name for name in chosen]
        is_default = not query.passthrough and names == usual
        return cls(query.passthrough, chosen, names, is_default)

    def header(self, copied: list[str]) -> list[str]:
        """Raises Invalid if two columns would have one name, because readers keep only one."""
        names = [*copied, *self.names]
        repeated = [name for name, times in Counter(names).items() if times > 1]
        if repeated:
            raise Invalid(
                "The answer would have a column twice. Change passthrough, name or columns.",
                [Fault(column=name, detail="occurs twice in the answer") for name in repeated],
            )
        return names

    def copied(self, available: Collection[str]) -> list[str]:
        """The columns to copy. A parameter that is not a column's name may list several names.

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
                "passthrough names columns that the rows do not have.",
                [
                    Fault(column=name, detail="is in passthrough but not in the rows")
                    for name in absent
                ],
            )
        return names


def answer(
    predicted: Predicted, query: PredictQuery, settings: Settings, *, as_csv: bool
) -> Response:
    """A PredictionsOut or a CSV. It is complete before it is sent, so that a fault in the last row
    can still be reported as an error.

    Raises
    ------
    Invalid: a CSV layout for JSON, an explanation as CSV, or columns that the rows do not have.
    """
    layout = CsvLayout.of(query, predicted.columns)
    if not as_csv and not layout.is_default:
        raise Invalid(
            "passthrough, name and columns apply only to CSV answers. Send Accept: text/csv."
        )
    if as_csv and query.explain:
        raise Invalid("Explanations need a JSON answer. Send Accept: application/json.")
    headers = {"Vary": "Accept"}
    if as_csv:
        first = next(predicted.blocks)
        names = layout.copied(first.rows.columns) if layout.passthrough else []
        blocks = chain([first], predicted.blocks)
        lines = csv_lines(layout.header(names), _csv_batches(layout, names, predicted, blocks))
        pieces: Iterator[bytes] = map(str.encode, lines)
        headers |= predicted.facts.headers()
    else:
        pieces = _json(predicted)
        headers |= predicted.facts.ignored_header()
    with AnswerFiles(settings, predicted.request_bytes) as files:
        file = files.open()
        for piece in pieces:
            files.write(file, piece)
        return files.response([file], CSV if as_csv else JSON, headers)


def _json(predicted: Predicted) -> Iterator[bytes]:
    """A PredictionsOut as JSON. Dictionaries are written twice as fast as pydantic models."""
    yield to_json(predicted.facts)[:-1] + b',"predictions":['
    separator = b""
    for block in predicted.blocks:
        for start in range(0, len(block.rows), BATCH_ROWS):
            part = slice(start, start + BATCH_ROWS)
            batch = _outcomes(predicted, block.predictions, part)
            yield separator + to_json(batch)[1:-1]
            separator = b","
    yield b"]}\n"


def _outcomes(predicted: Predicted, found: Predictions, part: slice) -> list[dict[str, object]]:
    """A PredictionOut or an ExplainedOut for each row."""
    members: dict[str, Sequence[object]] = {}
    inner: dict[str, dict[str, Sequence[object]]] = {}
    for column in predicted.columns:
        first, *rest = column.path
        cells = cells_of(found, column, part)
        if rest:
            inner.setdefault(first, {})[rest[0]] = cells
            members[first] = ()  # in its place
        else:
            members[first] = cells
    for name, parts in inner.items():
        members[name] = _objects(parts)
    members[WARNINGS] = [listed(warnings) for warnings in found.warnings[part]]
    if found.explanations is not None:
        members["explanation"] = [
            {
                "base": explanation.base,
                "contributions": dict(
                    zip(predicted.features, explanation.contributions.tolist(), strict=True)
                ),
            }
            for explanation in found.explanations[part]
        ]
    return _objects(members)


def _objects(members: dict[str, Sequence[object]]) -> list[dict[str, object]]:
    return [dict(zip(members, row, strict=True)) for row in zip(*members.values(), strict=True)]


def _csv_batches(
    layout: CsvLayout, names: list[str], predicted: Predicted, blocks: Iterable[Block]
) -> Iterator[list[list[Cell]]]:
    columns = {column.name: column for column in predicted.columns}
    for block in blocks:
        found = block.predictions
        cells: list[Sequence[Cell]] = [block.rows.column(name) for name in names]
        for name in layout.columns:
            wanted = columns.get(name)
            cells.append(cells_of(found, wanted) if wanted else warning_texts(found))
        yield [list(row) for row in zip(*cells, strict=True)]


def cells_of(found: Predictions, column: Column, part: slice = ALL) -> Sequence[Any]:
    """Texts, or numbers with None for those that are not finite."""
    cells = found.cells[column.name][part]
    return finite(cells) if isinstance(cells, np.ndarray) else cells


def warning_texts(found: Predictions) -> list[str]:
    """For each row, the codes and columns of its warnings."""
    return [
        "; ".join(f"{odd.code} {odd.column or ''}".rstrip() for odd in listed(warnings))
        for warnings in found.warnings
    ]


def listed(warnings: list[RowWarning]) -> list[RowWarning]:
    """The first warnings of a row, and one that counts the others."""
    if len(warnings) <= MOST_WARNINGS:
        return warnings
    others = Counter(odd.code for odd in warnings[MOST_WARNINGS:])
    counted = ", ".join(f"{count} {code}" for code, count in others.most_common())
    detail = f"{others.total()} more warnings of this row: {counted}"
    return [*warnings[:MOST_WARNINGS], RowWarning("more_warnings", None, detail)]


def finite(values: Vector) -> list[float | None]:
    """null unless it is a finite number."""
    numbers: list[float | None] = values.tolist()
    if np.isfinite(values).all():
        return numbers
    return [number if math.isfinite(number) else None for number in values.tolist()]
