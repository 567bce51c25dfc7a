"""Warnings before training about what a spec probably does not intend.

The profile is checked first, then the table's rows: for columns that give the target away and, if
the folds are shuffled or stratified, for rows that such folds should not separate.
"""

from __future__ import annotations

from pathlib import Path

from models.planning.review.duplicates import duplicate_rows
from models.planning.review.entities import repeated_entities
from models.planning.review.leakage import leakage_suspects
from models.planning.review.order import ordered_in_time
from models.planning.review.sample import Sample
from models.planning.review.settings import settings_warnings
from models.planning.review.target import target_warnings
from models.planning.review.warning import SpecWarning
from models.spec import TrainingSpec
from models.tables.profile import Profile

FEWEST_ROWS = 10  # with a target; fewer show nothing

__all__ = ["SpecWarning", "review"]


def review(spec: TrainingSpec, profile: Profile, parquet: Path) -> list[SpecWarning]:
    """The objections that a table raises to a resolved spec.

    Raises
    ------
    TableDamaged
    """
    found = settings_warnings(spec, profile) + target_warnings(spec, profile, parquet)
    sample = Sample(parquet, profile, spec)
    if len(sample) < FEWEST_ROWS:
        return found
    matters = [leakage_suspects]
    if spec.folds.type in ("shuffled", "stratified"):
        matters += [repeated_entities, ordered_in_time, duplicate_rows]
    for matter in matters:
        found += matter(spec, profile, sample)
    return found
