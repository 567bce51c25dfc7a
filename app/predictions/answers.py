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
from app.predictions.facts import Facts
from app.predictions.schemas import PredictQuery
from app.predictions.service import Block, Predicted
from app.predictions.spooling import AnswerFiles
from app.settings import Settings
from models.objectives.base import Column, Vector
from models.serving.predictor import Predictions
from models.tables.faults import RowWarning

BATCH_ROWS = 1_000
FEW = 16  # numbers that Python looks at faster than numpy
MOST_NAMED = 20  # columns in a message
ALL = slice(None)
WARNINGS = "warnings"
JSON_TAIL = b"]}\n"
MOST_WARNINGS = 20  # of a row; one more says how many there are besides


@dataclass(frozen=True)
class CsvLayout:
    """The columns of a CSV answer."""

    passthrough: list[str]
    columns: list[str]
    names: list[str]  # of the columns, in the CSV
    is_default: bool

    @classmethod
    def of(cls, query: PredictQuery, predicted: Predicted) -> CsvLayout:
        """Raises Invalid for an unknown column."""
        offered = [column.name for column in predicted.columns if column.in_csv]
        known = dict.fromkeys([*offered, WARNINGS])
        usual = [*(column.name for column in predicted.usual), WARNINGS]
        chosen = names_in(query.columns, known) or usual
        unknown = [name for name in chosen if name not in known]
        if unknown:
            some = ", ".join([*known][:MOST_NAMED])
            more = ", …" if len(known) > MOST_NAMED else ""
            raise Invalid(
                f"columns must be some of {some}{more}.",
                [Fault(column=name, detail="is not a column of the answer") for name in unknown],
            )
        first = offered[0]
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
        """The columns to copy; raises Invalid if there is no such column."""
        names = names_in(self.passthrough, available)
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


def names_in(texts: Iterable[str], known: Collection[str]) -> list[str]:
    """The names in parameters, each of which may list several; a known name may have commas.

    >>> names_in(["prediction, p(fair, dry)"], ["prediction", "p(fair, dry)"])
    ['prediction', 'p(fair, dry)']
    """
    longest = max((name.count(",") for name in known), default=0) + 1
    names = []
    for text in texts:
        if text in known:
            names.append(text)
            continue
        parts = text.split(",")
        while parts:
            tried = (",".join(parts[:end]).strip() for end in range(longest, 1, -1))
            name = next((name for name in tried if name in known), parts[0].strip())
            names.append(name)
            parts = parts[name.count(",") + 1 :]
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
    layout = CsvLayout.of(query, predicted)
    if not as_csv and not layout.is_default:
        raise Invalid(
            "passthrough, name and columns apply only to CSV answers. Send Accept: text/csv."
        )
    if as_csv and query.explain:
        raise Invalid("Explanations need a JSON answer. Send Accept: application/json.")
    if query.classes and query.columns:
        raise Invalid(
            "Give classes or columns, not both: a column p(yes) has the probability of the class "
            "yes."
        )
    headers = {"Vary": "Accept"}
    if as_csv:
        first = next(predicted.blocks)
        names = layout.copied(first.rows.columns) if layout.passthrough else []
        blocks = chain([first], predicted.blocks)
        lines = csv_lines(layout.header(names), _csv_batches(layout, names, predicted, blocks))
        pieces: Iterator[bytes] = map(str.encode, lines)
        headers |= predicted.facts.headers()
    else:
        pieces = _json(predicted, max(1, BATCH_ROWS // (query.comparables or 1)))
        headers |= predicted.facts.ignored_header()
    with AnswerFiles(settings, predicted.request_bytes) as files:
        file = files.open()
        for piece in pieces:
            files.write(file, piece)
        return files.response([file], CSV if as_csv else JSON, headers)


def _json(predicted: Predicted, batch_rows: int) -> Iterator[bytes]:
    """A PredictionsOut as JSON. Dictionaries are written twice as fast as pydantic models."""
    yield json_head(predicted.facts)
    separator = b""
    for block in predicted.blocks:
        for start in range(0, len(block.rows), batch_rows):
            part = slice(start, start + batch_rows)
            members = _members(predicted.columns, block.predictions, part)
            yield separator + to_json(_objects(members | _extras(predicted, block, part)))[1:-1]
            separator = b","
    yield JSON_TAIL


def json_head(facts: Facts) -> bytes:
    """A PredictionsOut up to its predictions."""
    return to_json(facts)[:-1] + b',"predictions":['


def json_whole(head: bytes, columns: Sequence[Column], found: Predictions) -> bytes:
    """A PredictionsOut of a few rows, with nothing beside their answers."""
    return head + to_json(_objects(_members(columns, found, ALL)))[1:-1] + JSON_TAIL


def _members(
    columns: Iterable[Column], found: Predictions, part: slice
) -> dict[str, Sequence[object]]:
    """Of a PredictionOut: the values of some rows, by member."""
    members: dict[str, Sequence[object]] = {}
    inner: dict[str, dict[str, Sequence[object]]] = {}
    for column in columns:
        if not column.path:
            continue
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
    return members


def _extras(predicted: Predicted, block: Block, part: slice) -> dict[str, Sequence[object]]:
    """The members that only some requests ask for."""
    members: dict[str, Sequence[object]] = {}
    if block.predictions.explanations is not None:
        members["explanation"] = [
            {
                "base": explanation.base,
                "contributions": dict(
                    zip(predicted.features, explanation.contributions.tolist(), strict=True)
                ),
                "level": explanation.level,
            }
            for explanation in block.predictions.explanations[part]
        ]
    if block.comparables is not None:
        members["comparables"] = block.comparables[part]
    return members


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
            cells.append(written_cells(found, wanted) if wanted else warning_texts(found))
        yield [list(row) for row in zip(*cells, strict=True)]


def cells_of(found: Predictions, column: Column, part: slice = ALL) -> Sequence[Any]:
    """Numbers with None for those that are not finite, texts, lists of texts, or numbers by
    name."""
    cells = found.cells[column.name][part]
    return finite(cells) if isinstance(cells, np.ndarray) else cells


def written_cells(found: Predictions, column: Column) -> Sequence[Cell]:
    """As one text or number each."""
    cells = cells_of(found, column)
    return cells if column.written is None else [column.written(cell) for cell in cells]


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
    numbers: list[float] = values.tolist()
    if len(values) > FEW and np.isfinite(values).all():
        return [*numbers]
    return [number if math.isfinite(number) else None for number in numbers]
