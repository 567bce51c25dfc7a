"""Rows to predict, and predictions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, FiniteFloat, Strict

from app.http.parameters import ID_PATTERN, PRINTABLE, SEPARATOR, AsDigits
from app.registry.names import CHAMPION
from models.objectives.base import DEFAULT_COVERAGE, HIGHEST_COVERAGE, LOWEST_COVERAGE
from models.tables.faults import RowWarning

MOST_EXPLAINED = 20  # rows of a request: each takes as long as thousands of predictions

OnUnknown = Literal["warn", "error"]
# Strict, and the first type that fits: finding the best of five takes twice as long.
JsonCell = Annotated[
    Annotated[str, Strict()]
    | Annotated[int, Strict()]
    | Annotated[FiniteFloat, Strict()]
    | Annotated[bool, Strict()]
    | None,
    Field(union_mode="left_to_right"),
]
# Only the first wrong row is reported: errors about a million rows take gigabytes and minutes.
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

    # Unknown members are refused later: with "forbid", each of a million would be one more error.
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
        description="Share of the true values that the intervals should contain. Default: that of "
        f"the query parameter, {DEFAULT_COVERAGE}.",
    )
    on_unknown: OnUnknown | None = Field(
        default=None,
        description="`error` refuses rows with unknown levels, wrong types or missing cells; "
        "`warn` predicts them with a warning. Default: that of the query parameter.",
    )


class PredictQuery(BaseModel):
    """How to predict, and the form of the answer."""

    # Ignoring a misspelt parameter would give a prediction that was not asked for.
    model_config = ConfigDict(extra="forbid")

    coverage: Annotated[float, AsDigits] = Field(
        default=DEFAULT_COVERAGE,
        ge=LOWEST_COVERAGE,
        le=HIGHEST_COVERAGE,
        description="Share of the true values that the intervals should contain.",
    )
    on_unknown: OnUnknown = Field(
        default="warn",
        description="`error` refuses unknown levels, wrong types and missing cells.",
    )
    explain: bool = Field(
        default=False,
        description="Adds each column's contribution to each prediction (JSON only). A row takes "
        f"as long as thousands of predictions, so a request may have at most {MOST_EXPLAINED} "
        "rows, fewer for a model with many columns or weights.",
    )
    separator: str | None = Field(
        default=None,
        pattern=SEPARATOR,
        description="The character between the cells of a CSV, if more than one fits. A space "
        "(`%20`) means runs of spaces.",
    )
    passthrough: list[str] = Field(
        default=[], description="Columns of the rows to copy to the front of a CSV answer."
    )
    name: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        pattern=PRINTABLE,
        description="Name of the prediction column in a CSV answer. Default: `prediction`.",
    )
    columns: list[str] = Field(
        default=[],
        description="Columns of a CSV answer. Default: all, which are `prediction`, `low`, `high` "
        "and `warnings`.",
    )


class NamedPredictQuery(PredictQuery):
    """The same, with the model."""

    model: str = Field(
        default=CHAMPION,
        pattern=ID_PATTERN,
        description="A model's id, or an alias.",
        examples=["latest"],  # the model of the examples before, whatever the champion is
    )


class IntervalOut(BaseModel):
    """Contains the true value with probability `coverage`. The bounds are null if the model has too
    few rows to compute them, which a warning of the answer reports."""

    low: float | None
    high: float | None
    coverage: float


class ExplanationOut(BaseModel):
    """What each column adds to a prediction: base + the sum of contributions = value."""

    base: float = Field(description="The mean prediction of a sample of the training rows.")
    contributions: dict[str, float] = Field(
        description="Shapley values by column, on the target's own scale."
    )


class PredictionOut(BaseModel):
    """`value` is on the target's own scale; null if it is not a finite number."""

    value: float | None
    interval: IntervalOut
    warnings: list[RowWarning]


class ExplainedOut(PredictionOut):
    """A prediction with its explanation, for `explain=true`."""

    explanation: ExplanationOut


class PredictionsOut(BaseModel):
    """One prediction for each row, in order, and facts about all rows."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    target: str = Field(description="The column that is predicted.")
    alias: str | None = Field(description="The alias that the request named, if it named one.")
    missing_columns: list[str] = Field(
        description="Columns of the model that no row has; they are imputed as in training."
    )
    ignored_columns: list[str] = Field(
        description="Columns of the rows that the model does not use."
    )
    warnings: list[RowWarning] = Field(description="Warnings that apply to all rows.")
    predictions: list[ExplainedOut | PredictionOut]
