"""What the profile of a table says against a resolved spec, before any row is read."""

from __future__ import annotations

from collections.abc import Iterator

from models.data.aside import seen_rows
from models.data.estimate import parameters
from models.data.features import LEFT_OUT_KINDS
from models.data.kinds import MAX_LEVELS
from models.data.profile import Profile
from models.data.review.warning import SpecWarning
from models.spec import TrainingSpec


def settings_warnings(spec: TrainingSpec, profile: Profile) -> list[SpecWarning]:
    """One function a matter, in the order in which they are shown."""
    matters = (_kept, _missing_target, _levels_cut, _capacity)
    return [warning for matter in matters for warning in matter(spec, profile)]


def _kept(spec: TrainingSpec, profile: Profile) -> Iterator[SpecWarning]:
    for column in profile.columns:
        if column.name in spec.features.kinds and column.kind in LEFT_OUT_KINDS:
            yield SpecWarning(
                f"{column.kind}_kept",
                f"'{column.name}' is used although {LEFT_OUT_KINDS[column.kind]}",
                column.name,
            )


def _missing_target(spec: TrainingSpec, profile: Profile) -> Iterator[SpecWarning]:
    for column in profile.columns:
        if column.name == spec.target and column.missing:
            yield SpecWarning(
                "target_missing",
                f"{column.missing} rows have no '{spec.target}' and are left out",
                spec.target,
            )


def _levels_cut(spec: TrainingSpec, profile: Profile) -> Iterator[SpecWarning]:
    for column in profile.columns:
        if spec.features.kinds.get(column.name) == "categorical" and column.cut:
            yield SpecWarning(
                "levels_cut",
                f"'{column.name}' has {column.distinct:,} levels, and the {MAX_LEVELS:,} most "
                f"frequent are inputs: {100 * column.cut / profile.rows:.1f} % of the rows have "
                "another one, which is unknown to the network; group rare levels to keep them",
                column.name,
            )


def _capacity(spec: TrainingSpec, profile: Profile) -> Iterator[SpecWarning]:
    weights = parameters(spec, profile)
    rows = seen_rows(spec, profile) * (spec.k_folds - 1) // spec.k_folds
    if weights > rows:
        yield SpecWarning(
            "capacity_exceeds_data",
            f"each network has {weights:,} weights for {rows:,} training rows: watch the "
            "diagnosis for overfitting; weight decay, dropout, early stopping or fewer hidden "
            "units hold it back",
        )
