"""Rows to price, and prices."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, FiniteFloat

from models.serving.encoding import RowWarning

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
    """Rows as JSON objects, by column. `coverage` is not built yet."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [ROWS_EXAMPLE]})

    rows: Annotated[list[JsonRow], Field(min_length=1), FailFast()]
    coverage: None = None
    on_unknown: OnUnknown | None = Field(
        default=None,
        description="`error` refuses rows with unknown levels, wrong types or missing cells, "
        "`warn` prices them with a warning. Default: the query parameter's.",
    )


class PredictionOut(BaseModel):
    """`value` is on the target's own scale; null where it is no finite number."""

    value: float | None
    interval: None
    warnings: list[RowWarning]


class PredictionsOut(BaseModel):
    """One prediction for each row, in order."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    predictions: list[PredictionOut]
