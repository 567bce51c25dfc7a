"""Rows to predict, and predictions."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    FiniteFloat,
    Strict,
    ValidationInfo,
    field_validator,
)
from typing_extensions import TypedDict

from app.http.parameters import ID_PATTERN, PRINTABLE, SEPARATOR, AsDigits
from app.registry.names import CHAMPION
from models.objectives.base import (
    DEFAULT_COVERAGE,
    HIGHEST_COVERAGE,
    LOWEST_COVERAGE,
    OnUnknown,
    Question,
)
from models.objectives.classification.cells import FEW_CLASSES
from models.tables.faults import RowWarning

MOST_COMPARABLES = 50  # of a row
MOST_EXPLAINED = 20  # rows of a request: each takes as long as thousands of predictions

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
        description="Share of the true values that the intervals, or sets of classes, should "
        f"contain. Default: that of the query parameter, {DEFAULT_COVERAGE}.",
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
        description="Share of the true values that the intervals, or sets of classes, should "
        "contain.",
    )
    by_class: bool = Field(
        default=False,
        description="Of classes: whether the sets should contain that share of the rows of each "
        "class, instead of all rows together. Rare classes then make them larger.",
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
    explained_class: str | None = Field(
        default=None,
        description="Of classes, with `explain=true`: the class whose log-odds are explained. "
        "Default: the predicted one.",
    )
    comparables: Annotated[int, AsDigits, Field(ge=1, le=MOST_COMPARABLES)] | None = Field(
        default=None,
        description="Adds to each prediction so many training rows that are most like the row in "
        "what matters for the target, with their true targets (JSON rows and answers only). The "
        "answer's rows × comparables × columns are limited to a million.",
    )
    threshold: Annotated[float, AsDigits, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Of two classes: the probability from which the positive one is predicted. "
        "Default: the model's own, which `GET /v1/models/{id}` shows.",
    )
    classes: list[str] = Field(
        default=[],
        description="Of classes: those whose probabilities an answer lists, in a CSV as columns; "
        "`*` for all. Repeat it for several, because a class may have a comma in its name. "
        f"Default: in JSON all of up to {FEW_CLASSES}, and of more the predicted one and those of "
        "the row's set; in a CSV the predicted one.",
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
        description="Columns of a CSV answer. Default: of numbers `prediction`, `low`, `high` and "
        "`warnings`, of classes `prediction`, `probability`, `set` and `warnings`. `p(yes)` is the "
        "probability of the class yes.",
    )

    def question(self) -> Question:
        return Question(
            coverage=self.coverage,
            on_unknown=self.on_unknown,
            explain=self.explain,
            explained_class=self.explained_class,
            threshold=self.threshold,
            classes=tuple(self.classes),
            by_class=self.by_class,
            comparables=self.comparables or 0,
        )

    @field_validator("explained_class")
    @classmethod
    def _needs_explain(cls, level: str | None, info: ValidationInfo) -> str | None:
        if level is not None and info.data.get("explain") is False:
            raise ValueError("applies only with explain=true")
        return level


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


class SetOut(BaseModel):
    """Contains the true class with probability `coverage`."""

    levels: list[str] = Field(
        description="The most probable first. Empty if even the predicted class would make the "
        "sets contain more truths than requested."
    )
    coverage: float


class ExplanationOut(BaseModel):
    """What each column adds to a prediction: base + the sum of contributions = value, or the
    log-odds of a class."""

    base: float = Field(description="The mean prediction of a sample of the training rows.")
    contributions: dict[str, float] = Field(
        description="Shapley values by column, on the target's own scale, or in log-odds."
    )
    level: str | None = Field(description="The class that is explained; null for a number.")


class ComparableOut(BaseModel):
    """A training row that is like the row to predict. Each cell contributes to a line through the
    training rows' targets. d is the Euclidean distance between the contributions of two rows, in
    standard deviations of the target as it is learnt."""

    row: int = Field(description="Its index in the table, from 0, as in the out-of-fold answer.")
    similarity: float = Field(
        description="exp(−d): 1 where nothing that matters differs, falling to 0."
    )
    actual: float | str = Field(description="Its true target: a number, or a class.")
    values: dict[str, float | str | None] = Field(
        description="Its cells as a JSON row to predict has them, null for a missing one; the "
        "model's most important columns first."
    )


class PredictionOut(TypedDict):
    """A row's prediction: of a number with `interval`, of a class with `probabilities` and
    `set`."""

    value: Annotated[
        float | str | None,
        Field(
            description="A number on the target's own scale, null if it is not finite; or a class."
        ),
    ]
    interval: NotRequired[IntervalOut]
    probabilities: NotRequired[
        Annotated[
            dict[str, float],
            Field(
                description="By class. Of more than "
                f"{FEW_CLASSES} classes only the predicted one and those of the set, unless "
                "`?classes=` names others."
            ),
        ]
    ]
    set: NotRequired[SetOut]
    warnings: list[RowWarning]
    explanation: NotRequired[Annotated[ExplanationOut, Field(description="With `?explain=true`.")]]
    comparables: NotRequired[
        Annotated[
            list[ComparableOut],
            Field(
                description="With `?comparables=`: the most similar first, and equally similar "
                "ones in the table's order."
            ),
        ]
    ]


class PredictionsOut(BaseModel):
    """One prediction for each row, in order, and facts about all rows."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    target: str = Field(description="The column that is predicted.")
    unit: str | None = Field(
        description="Of the target, if its cells in the table had one, such as `$` or `m2`."
    )
    alias: str | None = Field(description="The alias that the request named, if it named one.")
    missing_columns: list[str] = Field(
        description="Columns of the model that no row has; they are imputed as in training."
    )
    ignored_columns: list[str] = Field(
        description="Columns of the rows that the model does not use."
    )
    warnings: list[RowWarning] = Field(description="Warnings that apply to all rows.")
    predictions: list[PredictionOut]
