"""Datasets as the API shows them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from app.http.paging import Identified
from app.storage.tables import Dataset
from models.tables.profile import ColumnProfile, Profile, ProfileWarning, Suggestions


class DatasetSummary(Identified):
    """An uploaded table, as lists show it."""

    name: str
    sha256: str = Field(description="Of the uploaded bytes.")
    bytes: int
    rows: int
    created_at: datetime

    @classmethod
    def of(cls, dataset: Dataset) -> DatasetSummary:
        return cls(
            id=dataset.id,
            name=dataset.name,
            sha256=dataset.sha256,
            bytes=dataset.bytes,
            rows=dataset.rows,
            created_at=dataset.created_at,
        )


class DatasetOut(DatasetSummary):
    """An uploaded table and what was found in it."""

    columns: list[ColumnProfile]
    suggestions: Suggestions
    warnings: list[ProfileWarning]

    @classmethod
    def of(cls, dataset: Dataset) -> DatasetOut:
        profile = Profile.model_validate(dataset.profile)
        return cls(
            **dict(DatasetSummary.of(dataset)),
            columns=profile.columns,
            suggestions=profile.suggestions,
            warnings=profile.warnings,
        )
