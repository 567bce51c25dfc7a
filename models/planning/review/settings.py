"""Objections to a resolved spec from the table's profile, before any row is read."""

from __future__ import annotations

import math
from collections.abc import Iterator

from models.data.aside import seen_rows
from models.planning.estimate import parameters
from models.planning.resolve import LEFT_OUT_KINDS
from models.planning.review.warning import SpecWarning
from models.spec import TrainingSpec
from models.spec.schedules import mean_factor
from models.tables.kinds import MAX_LEVELS
from models.tables.profile import Profile

# If decay shrinks weights by less than this over a run, it has no effect.
LEAST_DECAY = 0.05
# The share that the suggested decay gives, which has an effect.
FELT_DECAY = 0.5


def settings_warnings(spec: TrainingSpec, profile: Profile) -> list[SpecWarning]:
    """One function per topic, in the order in which warnings are shown."""
    matters = (_kept, _missing_target, _levels_cut, _capacity)
    found = [warning for matter in matters for warning in matter(spec, profile)]
    networks = [trial for trial in spec.trials() if not trial.architecture.is_fitted]
    decays = [warning for trial in networks for warning in _decay(trial, profile)]
    return [*found, *dict.fromkeys(decays)]  # members of a blend often decay alike


def _kept(spec: TrainingSpec, profile: Profile) -> Iterator[SpecWarning]:
    for column in profile.columns:
        if column.name in spec.features.kinds and column.kind in LEFT_OUT_KINDS:
            yield SpecWarning(
                f"{column.kind}_kept",
                f"'{column.name}' is used, although {LEFT_OUT_KINDS[column.kind]}",
                column.name,
            )


def _missing_target(spec: TrainingSpec, profile: Profile) -> Iterator[SpecWarning]:
    for column in profile.columns:
        if column.name == spec.target and column.missing:
            yield SpecWarning(
                "target_missing",
                f"{column.missing} rows have no '{spec.target}' and are not used",
                spec.target,
            )


def _levels_cut(spec: TrainingSpec, profile: Profile) -> Iterator[SpecWarning]:
    for column in profile.columns:
        if spec.features.kinds.get(column.name) == "categorical" and column.cut:
            yield SpecWarning(
                "levels_cut",
                f"'{column.name}' has {column.distinct:,} levels, and only the {MAX_LEVELS:,} most "
                f"frequent are inputs: {100 * column.cut / profile.rows:.1f} % of the rows have "
                "another level, unknown to the network; group rare levels to keep them",
                column.name,
            )


def _capacity(spec: TrainingSpec, profile: Profile) -> Iterator[SpecWarning]:
    weights = max(parameters(trial, profile) for trial in spec.trials())
    rows = seen_rows(spec, profile) * (spec.k_folds - 1) // spec.k_folds
    if weights > rows:
        yield SpecWarning(
            "capacity_exceeds_data",
            f"each network has {weights:,} weights for {rows:,} training rows: watch the "
            "diagnosis for overfitting. Weight decay, dropout, early stopping or fewer hidden "
            "units reduce it",
        )


def _decay(spec: TrainingSpec, profile: Profile) -> Iterator[SpecWarning]:
    """Decoupled decay reduces each weight by a share rate × decay per step (Loshchilov and Hutter
    2019, arXiv 1711.05101). Over a run, a weight shrinks at most by the sum of these shares."""
    watched = spec.early_stopping.fraction if spec.early_stopping else 0.0
    rows = profile.rows * (1 - 1 / spec.k_folds) * (1 - watched)
    steps = spec.max_epochs * math.ceil(rows / spec.batch_size)
    rate = spec.optimizer.learning_rate * mean_factor(spec.optimizer.schedule)
    shrinks = -math.expm1(-steps * rate * spec.weight_decay)
    if 0 < shrinks < LEAST_DECAY:
        felt = -math.log1p(-FELT_DECAY) / (steps * rate)
        yield SpecWarning(
            "decay_without_effect",
            f"weight_decay {spec.weight_decay:g} shrinks a weight by at most {100 * shrinks:.2g} % "
            f"over the planned {steps:,} steps, which has no effect: set it to 0, or to about "
            f"{felt:.1g}, which halves weights",
        )
