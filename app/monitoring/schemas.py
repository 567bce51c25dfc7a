"""What a model was asked, as the API shows it."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Drift = Literal["none", "moderate", "large"]


class ColumnDrift(BaseModel):
    """How far a column of the rows that were priced is from that of training."""

    column: str
    psi: float = Field(
        description="Population stability index: Σ (p − q)·ln(p / q) over the column's bins, p the "
        "shares of the rows priced and q those of training; half a row is added to each bin, and "
        "bins with fewer than five rows of training, or expected, count as one."
    )
    by_chance: float = Field(
        description="What rows drawn as those of training were stay below 999 times in 1,000."
    )
    drift: Drift = Field(
        description="None while psi is below by_chance; else from 0.1 on moderate, from 0.25 on "
        "large."
    )


class Latency(BaseModel):
    """Seconds that pricing a request's rows and writing the answer took: the bound of the bin in
    which the quantile lies; null without requests, or above a minute."""

    p50: float | None
    p90: float | None
    p99: float | None


class ModelMonitoring(BaseModel):
    """What a model was asked since a day, today included."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    since: date = Field(description="The first day that counts, in UTC.")
    requests: int
    rows: int
    latency_seconds: Latency
    warnings: dict[str, int] = Field(description="Rows by the code of a warning.")
    columns: list[ColumnDrift] = Field(description="The largest drift first; empty without rows.")
