"""Objections to a resolved spec from the cells of its target."""

from __future__ import annotations

from pathlib import Path

from models.objectives import objective_of
from models.planning.review.warning import SpecWarning
from models.spec import TrainingSpec
from models.tables.profile import Profile
from models.tables.stored import read_columns


def target_warnings(spec: TrainingSpec, profile: Profile, parquet: Path) -> list[SpecWarning]:
    """What the objective has to say about all rows; raises TableDamaged."""
    [target] = [column for column in profile.columns if column.name == spec.target]
    column = read_columns(parquet, [spec.target])[spec.target]
    remarks = objective_of(spec).remarks(spec, target, column)
    return [SpecWarning(code, detail, spec.target) for code, detail in remarks]
