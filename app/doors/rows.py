"""Rows that came by a door, and all that is said of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from pydantic import BaseModel, Field

from app.errors import Invalid
from app.predictions.answers import finite, warning_texts
from app.predictions.rows import BLOCK_ROWS, check_row_count
from app.predictions.schemas import OnUnknown, PredictRequest
from app.predictions.service import Priced
from app.settings import Settings
from models.serving.intervals import HIGHEST_COVERAGE, LOWEST_COVERAGE

# Unlike /v1/predict, NaN is let in: clients that send tables write it for a missing cell.
DoorCell = float | int | str | bool | None
Row = dict[str, DoorCell]

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


def in_blocks(
    rows: Iterable[Row], count: int, asked: Asked, settings: Settings
) -> Iterator[PredictRequest]:
    """Rows made of columns take many times the memory, so few are made at a time.

    Raises
    ------
    Invalid, TooLarge: there are no rows, or too many.
    """
    if count == 0:
        raise Invalid("There are no rows to price.")
    check_row_count(count, settings)
    remaining = iter(rows)
    while block := list(islice(remaining, BLOCK_ROWS)):
        yield PredictRequest.model_construct(
            rows=block, coverage=asked.coverage, on_unknown=asked.on_unknown
        )


def of_columns(columns: Mapping[str, Sequence[DoorCell]]) -> Iterator[Row]:
    """The rows of columns of equal length."""
    cells = zip(*columns.values(), strict=True)
    return (dict(zip(columns, row, strict=True)) for row in cells)


@dataclass
class Answer:
    """Prices, the bounds of their intervals, and the texts of their warnings, one a row.

    ignored : columns that came and are not the model's
    """

    values: list[float | None] = field(default_factory=list)
    low: list[float | None] = field(default_factory=list)
    high: list[float | None] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    ignored: dict[str, None] = field(default_factory=dict)


def whole(priced: Priced) -> Answer:
    """Price all rows; raises what pricing does."""
    answer = Answer()
    for block in priced.blocks:
        found = block.predictions
        answer.values += finite(found.values)
        answer.low += finite(found.low)
        answer.high += finite(found.high)
        answer.warnings += warning_texts(found)
        answer.ignored |= dict.fromkeys(found.ignored)
    return answer
