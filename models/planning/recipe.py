"""What a spec that leaves `architecture` out trains, where it says nothing else.

Chosen by measurement (docs/decisions/0001-default-spec.md). It follows the number of rows that
folds may see, and nothing else of the table.
"""

from __future__ import annotations

from typing import Any

from models.data.aside import seen_rows
from models.spec import TrainingSpec
from models.spec.architectures import MlpArchitecture, PiecewiseLinear
from models.tables.profile import Profile

HIDDEN_SIZES = [256, 128, 64]
# Rows from which dropout and the schedule alone keep a network from overfitting, finer bins pay,
# and rows are better spent on training than on early stopping.
MANY_ROWS = 5_000
# Rows from which a second member a fold, and more epochs, cost more than they give.
VERY_MANY_ROWS = 50_000


def apply_recipe(spec: TrainingSpec, profile: Profile) -> TrainingSpec:
    """The spec with the recipe's values where it has none of its own."""
    if spec.architecture.type == "linear":
        return _straight(spec)
    if "architecture" in spec.model_fields_set:
        return spec
    optimizer: dict[str, Any] = {"learning_rate": 1e-3, "schedule": "cosine"}
    chosen: dict[str, Any] = {"max_epochs": 60, "members_per_fold": 2}
    bins = 16
    rows = seen_rows(spec, profile)
    if rows >= MANY_ROWS:
        bins = 32
        optimizer["learning_rate"] = 1.5e-3
        chosen |= {"batch_size": 128, "early_stopping": None}
    if rows >= VERY_MANY_ROWS:
        optimizer["learning_rate"] = 3e-3
        chosen |= {"batch_size": 512, "max_epochs": 30, "members_per_fold": 1}
    if spec.optimizer.name == "sgd":  # the rates are Adam's
        del optimizer["learning_rate"]
    chosen["architecture"] = MlpArchitecture(
        hidden_sizes=HIDDEN_SIZES,
        numeric_embedding=PiecewiseLinear(type="piecewise_linear", bins=bins),
    )
    kept = _without(optimizer, spec.optimizer.model_fields_set)
    chosen["optimizer"] = spec.optimizer.model_copy(update=kept)
    return spec.model_copy(update=_without(chosen, spec.model_fields_set - {"optimizer"}))


def _straight(spec: TrainingSpec) -> TrainingSpec:
    """A linear model begins at least squares, and these keep it there: `robust` scaling would bend
    the line, rows held back for early stopping and a rate that stays high would move it away."""
    updates: dict[str, Any] = {}
    if "early_stopping" not in spec.model_fields_set:
        updates["early_stopping"] = None
    if "schedule" not in spec.optimizer.model_fields_set:
        updates["optimizer"] = spec.optimizer.model_copy(update={"schedule": "cosine"})
    if "numeric_scaling" not in spec.preprocessing.model_fields_set:
        scaled = {"numeric_scaling": "standard"}
        updates["preprocessing"] = spec.preprocessing.model_copy(update=scaled)
    return spec.model_copy(update=updates)


def _without(values: dict[str, Any], given: set[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in given}
