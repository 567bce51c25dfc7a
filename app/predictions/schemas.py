"""Rows to price, and prices."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, FiniteFloat

from models.serving.encoding import RowWarning
from models.serving.intervals import DEFAULT_COVERAGE, HIGHEST_COVERAGE, LOWEST_COVERAGE

OnUnknown = Literal["warn", "error"]
JsonCell = FiniteFloat | int | str | bool | None
# The first row at fault is told: findings about a million rows take gigabytes and minutes.
JsonRow = Annotated[dict[str, JsonCell], FailFast()]

ROWS_EXAMPLE: dict[str, Any] = {
    "rows": [
        {
            "LotArea": 8450,
            "Neighborhood": "CollgCr",
            "OverallQual": 7,
            "YearBuilt": 2003,
            "GrLivArea": 1710,
            "TotalBsmtSF": 856,
            "GarageCars": 2,
        }
    ]
}


class PredictRequest(BaseModel):
    """Rows as JSON objects, by column."""

    # Other members are refused when all is read: with "forbid", each of a million would be told.
    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [ROWS_EXAMPLE], "additionalProperties": False},
    )

    rows: Annotated[list[JsonRow], Field(min_length=1), FailFast()]
    coverage: float | None = Field(
        default=None,
        ge=LOWEST_COVERAGE,
        le=HIGHEST_COVERAGE,
        description="Share of the truths that the intervals are to hold. Default: the query "
        f"parameter's, which is {DEFAULT_COVERAGE}.",
    )
    on_unknown: OnUnknown | None = Field(
        default=None,
        description="`error` refuses rows with unknown levels, wrong types or missing cells, "
        "`warn` prices them with a warning. Default: the query parameter's.",
    )


class IntervalOut(BaseModel):
    """Holds the truth with probability `coverage`; the bounds are null where the model has too few
    rows to say, of which a warning tells."""

    low: float | None
    high: float | None
    coverage: float


class ExplanationOut(BaseModel):
    """What each column adds to a price: base + the sum of contributions = value."""

    base: float = Field(description="The mean price of a sample of the rows of training.")
    contributions: dict[str, float] = Field(
        description="Shapley values by column, on the target's own scale."
    )


class PredictionOut(BaseModel):
    """`value` is on the target's own scale; null where it is no finite number."""

    value: float | None
    interval: IntervalOut
    warnings: list[RowWarning]


class ExplainedOut(PredictionOut):
    """A price, and why; with `explain=true`."""

    explanation: ExplanationOut


class PredictionsOut(BaseModel):
    """One prediction for each row, in order."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    predictions: list[ExplainedOut | PredictionOut]
