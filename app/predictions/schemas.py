"""Rows to price, and prices."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, FiniteFloat, Strict

from app.http.parameters import ID_PATTERN, PRINTABLE, SEPARATOR, AsDigits
from app.registry.names import CHAMPION
from models.objectives.base import DEFAULT_COVERAGE, HIGHEST_COVERAGE, LOWEST_COVERAGE
from models.tables.faults import RowWarning

MOST_EXPLAINED = 20  # rows of a request: each takes thousands of prices

OnUnknown = Literal["warn", "error"]
# Strict, and the first that fits: looking for the best one of five takes twice as long.
JsonCell = Annotated[
    Annotated[str, Strict()]
    | Annotated[int, Strict()]
    | Annotated[FiniteFloat, Strict()]
    | Annotated[bool, Strict()]
    | None,
    Field(union_mode="left_to_right"),
]
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
        strict=True,
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


class PricingQuery(BaseModel):
    """How to price, and what the answer is to look like."""

    # A misspelt parameter would be a price that is not the one asked for.
    model_config = ConfigDict(extra="forbid")

    coverage: Annotated[float, AsDigits] = Field(
        default=DEFAULT_COVERAGE,
        ge=LOWEST_COVERAGE,
        le=HIGHEST_COVERAGE,
        description="Share of the truths that the intervals are to hold.",
    )
    on_unknown: OnUnknown = Field(
        default="warn",
        description="`error` refuses unknown levels, wrong types and missing cells.",
    )
    explain: bool = Field(
        default=False,
        description="Adds to each price what each column contributes to it (JSON only). Each row "
        f"takes as long as thousands of prices: at most {MOST_EXPLAINED} a request, fewer of a "
        "model with many columns or weights.",
    )
    separator: str | None = Field(
        default=None,
        pattern=SEPARATOR,
        description="The character between the cells of a CSV, where more than one fits; a blank "
        "(`%20`) for runs of blanks.",
    )
    passthrough: list[str] = Field(
        default=[], description="Columns of the rows to copy in front of a CSV's."
    )
    name: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        pattern=PRINTABLE,
        description="Of the first column in a CSV. Default: `prediction`.",
    )
    columns: list[str] = Field(
        default=[],
        description="Which columns a CSV is to have. Default: all, which are `prediction`, `low`, "
        "`high` and `warnings`.",
    )


class NamedPricingQuery(PricingQuery):
    """The same, and with which model."""

    model: str = Field(
        default=CHAMPION,
        pattern=ID_PATTERN,
        description="A model's id, or an alias.",
        examples=["latest"],  # of the examples before it, whatever champion predicts
    )


class IntervalOut(BaseModel):
    """Holds the truth with probability `coverage`; the bounds are null where the model has too few
    rows to say, which a warning of the answer reports."""

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
    """One prediction for each row, in order, and what is true of all rows."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    target: str = Field(description="The column that is predicted.")
    alias: str | None = Field(description="The alias that the request asked for, if it did.")
    missing_columns: list[str] = Field(
        description="Columns of the model that no row has: imputed as in training."
    )
    ignored_columns: list[str] = Field(
        description="Columns of the rows that the model does not take."
    )
    warnings: list[RowWarning] = Field(description="What is odd about all rows alike.")
    predictions: list[ExplainedOut | PredictionOut]
