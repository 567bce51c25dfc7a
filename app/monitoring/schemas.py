"""A model's use and drift, as the API shows them."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Drift = Literal["none", "moderate", "large"]


class ColumnDrift(BaseModel):
    """How far a column of the predicted rows, or their predictions, have drifted from training."""

    column: str = Field(description="The target for predictions.")
    psi: float = Field(
        description="Population stability index: Σ (p − q)·ln(p / q) over the column's bins, p the "
        "shares of the predicted rows and q those of training; half a row is added to each "
        "bin, and bins with fewer than five rows of training, or expected, count as one."
    )
    by_chance: float = Field(
        description="Rows from the same distribution as the training rows stay below this 999 "
        "times in 1,000."
    )
    drift: Drift = Field(
        description="None while psi is below by_chance; otherwise moderate from 0.1, and from 0.25 "
        "large."
    )


class Latency(BaseModel):
    """Seconds to predict a request's rows and write the answer: the upper bound of the bin that
    holds the quantile. Null without requests, or above a minute."""

    p50: float | None
    p90: float | None
    p99: float | None


class ModelMonitoring(BaseModel):
    """A model's use since a day, including today."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    since: date = Field(description="The first day counted, in UTC.")
    requests: int
    rows: int
    latency_seconds: Latency
    warnings: dict[str, int] = Field(description="Number of rows by warning code.")
    predictions: ColumnDrift | None = Field(
        description="How far the predicted classes have drifted from those out of fold, with the "
        "model's own threshold; null without rows, and for models of numbers."
    )
    columns: list[ColumnDrift] = Field(description="Largest drift first; empty without rows.")
