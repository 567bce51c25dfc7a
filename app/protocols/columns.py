"""Rows that arrive by another protocol, and the columns of its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, Field
from pydantic_core import to_json

from app.errors import Invalid
from app.predictions.answers import WARNINGS, warning_texts, written_cells
from app.predictions.rows import JsonTable, Row
from app.predictions.service import Predicted
from app.predictions.spooling import AnswerFiles, Spooled
from models.objectives.base import HIGHEST_COVERAGE, LOWEST_COVERAGE, Column, OnUnknown
from models.serving.predictor import Predictions

# Unlike in /v1/predict, NaN is allowed: clients that send tables write it for a missing cell.
ProtocolCell = float | int | str | bool | None

BYTES = "BYTES"
FLOAT = "FP64"
LENGTH = 4  # bytes of the length before each text
FIRST_FAULT = Field(fail_fast=True)  # errors about a million cells take gigabytes


class Asked(BaseModel):
    """Options beside the rows, in the parameters that both protocols have."""

    coverage: float | None = Field(
        default=None,
        strict=True,
        ge=LOWEST_COVERAGE,
        le=HIGHEST_COVERAGE,
        description="Share of the true values that the intervals, or sets of classes, should "
        "contain.",
    )
    on_unknown: OnUnknown | None = Field(
        default=None,
        description="`error` refuses rows with unknown levels, wrong types or missing cells.",
    )


def of_columns(
    columns: Mapping[str, Sequence[ProtocolCell]], count: int, asked: Asked
) -> JsonTable:
    """Columns of equal length as rows. Rows are made when they are predicted, because they take
    many times the memory. Raises Invalid if there are none."""

    def rows(start: int, stop: int) -> list[Row]:
        cells = zip(*(column[start:stop] for column in columns.values()), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in cells]

    return JsonTable(some(count), columns, rows, asked.coverage, asked.on_unknown)


def some(count: int) -> int:
    """Raises Invalid for no rows."""
    if count == 0:
        raise Invalid("There are no rows to predict.")
    return count


@dataclass(frozen=True)
class Tensor:
    """An output of a model: its columns side by side."""

    columns: tuple[Column, ...]

    @property
    def datatype(self) -> str:
        return BYTES if self.columns[0].is_text else FLOAT

    @property
    def is_default(self) -> bool:
        """Whether an answer has it unless the request names outputs."""
        return all(column.is_default_tensor for column in self.columns)

    def shape(self, rows: int) -> list[int]:
        return [rows] if len(self.columns) == 1 else [rows, len(self.columns)]

    def cells(self, found: Predictions) -> Sequence[Any]:
        """One cell per row, or for several columns a tuple of cells."""
        columns = [
            warning_texts(found) if column is WARNING_COLUMN else written_cells(found, column)
            for column in self.columns
        ]
        return columns[0] if len(columns) == 1 else [*zip(*columns, strict=True)]


WARNING_COLUMN = Column(WARNINGS, (WARNINGS,), tensor=WARNINGS, is_text=True)


def tensors_of(columns: Sequence[Column]) -> dict[str, Tensor]:
    """The outputs of a model by their names, the predictions first and the warnings last."""
    found: dict[str, list[Column]] = {}
    for column in (*columns, WARNING_COLUMN):
        if column.tensor is not None:
            found.setdefault(column.tensor, []).append(column)
    return {name: Tensor(tuple(parts)) for name, parts in found.items()}


def write_columns(
    predicted: Predicted, files: AnswerFiles, packed: Mapping[str, bool]
) -> dict[str, Spooled]:
    """Predict all rows, and write each output to its own file: as JSON without its brackets, or, if
    `packed` says so, as bytes of the binary tensor extension. Raises what predicting does."""
    written = {name: files.open() for name in packed}
    outputs = tensors_of(predicted.columns)
    for block in predicted.blocks:
        for name, as_bytes in packed.items():
            file, cells = written[name], outputs[name].cells(block.predictions)
            if as_bytes:
                files.write(file, bytes_of(cells))
            else:
                separator = b"," if file.tell() else b""
                files.write(file, separator + to_json(cells)[1:-1])
    return written


def bytes_of(cells: Sequence[Any]) -> bytes:
    """FP64 with NaN for null, or BYTES: for each text its length and its UTF-8. Row by row."""
    if isinstance(cells[0], tuple):
        cells = [cell for row in cells for cell in row]
    if isinstance(cells[0], str):
        texts = [str(cell).encode() for cell in cells]
        return b"".join(len(text).to_bytes(LENGTH, "little") + text for text in texts)
    return np.array(cells, "<f8").tobytes()
