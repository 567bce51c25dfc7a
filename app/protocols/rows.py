"""Rows that came by a door, and all that is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, Field
from pydantic_core import to_json

from app.errors import Invalid
from app.predictions.answers import finite, warning_texts
from app.predictions.rows import JsonTable, Row
from app.predictions.schemas import OnUnknown
from app.predictions.service import Priced
from app.predictions.spooling import AnswerFiles, Spooled
from models.serving.intervals import HIGHEST_COVERAGE, LOWEST_COVERAGE

# Unlike /v1/predict, NaN is let in: clients that send tables write it for a missing cell.
DoorCell = float | int | str | bool | None

LENGTH = 4  # bytes of the number in front of each text
FIRST_FAULT = Field(fail_fast=True)  # findings about a million cells take gigabytes


class Asked(BaseModel):
    """What may be asked beside the rows, by the parameters that both protocols have."""

    coverage: float | None = Field(
        default=None,
        strict=True,
        ge=LOWEST_COVERAGE,
        le=HIGHEST_COVERAGE,
        description="Share of the truths that low to high is to hold.",
    )
    on_unknown: OnUnknown | None = Field(
        default=None,
        description="`error` refuses rows with unknown levels, wrong types or missing cells.",
    )


def of_columns(columns: Mapping[str, Sequence[DoorCell]], count: int, asked: Asked) -> JsonTable:
    """Columns of equal length as rows, which are made when they are priced: they take many times
    the memory. Raises Invalid where there are none."""

    def rows(start: int, stop: int) -> list[Row]:
        cells = zip(*(column[start:stop] for column in columns.values()), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in cells]

    return JsonTable(some(count), columns, rows, asked.coverage, asked.on_unknown)


def some(count: int) -> int:
    """Raises Invalid for no rows."""
    if count == 0:
        raise Invalid("There are no rows to price.")
    return count


VALUE, LOW, HIGH, WARNINGS = OUTPUTS = ("value", "low", "high", "warnings")


def write_columns(
    priced: Priced, files: AnswerFiles, packed: Mapping[str, bool]
) -> dict[str, Spooled]:
    """Price all rows into a file for each of some outputs: JSON without its brackets, or bytes as
    the binary tensor extension has them where `packed` says so. Raises what pricing does."""
    written = {name: files.open() for name in packed}
    for block in priced.blocks:
        found = block.predictions
        cells: dict[str, Sequence[float | str | None]] = {
            VALUE: finite(found.values),
            LOW: finite(found.low),
            HIGH: finite(found.high),
            WARNINGS: warning_texts(found),
        }
        for name, as_bytes in packed.items():
            file = written[name]
            if as_bytes:
                files.write(file, bytes_of(cells[name]))
            else:
                separator = b"," if file.tell() else b""
                files.write(file, separator + to_json(cells[name])[1:-1])
    return written


def bytes_of(cells: Sequence[float | str | None]) -> bytes:
    """FP64, with NaN for null, or BYTES: of each text its length and its UTF-8."""
    if isinstance(cells[0], str):
        texts = [str(cell).encode() for cell in cells]
        return b"".join(len(text).to_bytes(LENGTH, "little") + text for text in texts)
    return np.array(cells, "<f8").tobytes()
