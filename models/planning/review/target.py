"""Objections to a resolved spec from the cells of its target."""

from __future__ import annotations

from models.objectives import objective_of
from models.planning.review.sample import Sample
from models.planning.review.warning import SpecWarning
from models.spec import TrainingSpec
from models.tables.profile import Profile


def target_warnings(spec: TrainingSpec, profile: Profile, sample: Sample) -> list[SpecWarning]:
    """What the objective has to say."""
    [target] = [column for column in profile.columns if column.name == spec.target]
    remarks = objective_of(spec).remarks(spec, target, sample.cells)
    return [SpecWarning(code, detail, spec.target) for code, detail in remarks]
