"""What a spec may not mean: warnings that come before training."""

from __future__ import annotations

from pathlib import Path

from models.data.profile import Profile
from models.data.review.leakage import leakage_suspects
from models.data.review.settings import settings_warnings
from models.data.review.warning import SpecWarning
from models.spec import TrainingSpec

__all__ = ["SpecWarning", "review"]


def review(spec: TrainingSpec, profile: Profile, parquet: Path) -> list[SpecWarning]:
    """What a table says against a resolved spec: first its profile, then its rows.

    Raises
    ------
    TableDamaged
    """
    return [*settings_warnings(spec, profile), *leakage_suspects(spec, profile, parquet)]
