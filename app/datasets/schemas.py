"""Datasets as the API shows them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from app.paging import Identified
from app.storage.tables import Dataset
from models.data.profile import ColumnProfile, Profile, ProfileWarning, Suggestions


class DatasetOut(Identified):
    """An uploaded table and what was found in it."""

    name: str
    sha256: str = Field(description="Of the uploaded bytes.")
    bytes: int
    rows: int
    columns: list[ColumnProfile]
    suggestions: Suggestions
    warnings: list[ProfileWarning]
    created_at: datetime

    @classmethod
    def of(cls, dataset: Dataset) -> DatasetOut:
        profile = Profile.model_validate(dataset.profile)
        return cls(
            id=dataset.id,
            name=dataset.name,
            sha256=dataset.sha256,
            bytes=dataset.bytes,
            rows=dataset.rows,
            columns=profile.columns,
            suggestions=profile.suggestions,
            warnings=profile.warnings,
            created_at=dataset.created_at,
        )
