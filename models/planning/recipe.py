"""What is trained if a spec leaves out `architecture`.

The values were chosen by measurement: docs/decisions/0001-default-spec.md for numbers, and
0010-classes-recipe.md for classes. They depend only on the task and on the number of rows that the
folds may see. A value in the spec takes precedence.
"""

from __future__ import annotations

from typing import Any

from models.data.aside import seen_rows
from models.objectives import CLASSIFICATION, REGRESSION, task_of
from models.spec import MemberSettings, TrainingSpec
from models.spec.architectures import (
    BoostedTreesArchitecture,
    KernelArchitecture,
    LinearPath,
    MlpArchitecture,
    PiecewiseLinear,
    RidgeArchitecture,
)
from models.tables.profile import Profile

HIDDEN_SIZES = [256, 128, 64]
# With more rows, dropout and the schedule prevent overfitting without early stopping, so all rows
# can train, and finer bins pay off.
MANY_ROWS = 5_000
# Of the two networks of a blend. The second alone is worse on houses, and the blend is better.
DROPOUTS = (0.3, 0.1)
# Epochs of a blend's networks with many rows; comparables tell them early what they would learn.
FEWER_EPOCHS = 30
# With fewer rows a line is often as good as anything, and networks only come near it. With more
# they do not miss it.
LINE_ROWS = 1_000
# Of the trees of a blend for numbers: on seven tables 0.5 % less error out of fold than with 10.
LEAF_ROWS = 5
# Of more classes, trees are not grown: each iteration has one for each.
MOST_TREE_CLASSES = 20
# Losses that trees minimise too.
BLENDED_LOSSES = ("squared_error", "absolute_error", "huber", "cross_entropy")
# With more rows, a second member per fold and more epochs are not worth their cost.
VERY_MANY_ROWS = 50_000
# A perceptron stops after the first one without a mistake.
PERCEPTRON_EPOCHS = 200


def apply_recipe(spec: TrainingSpec, profile: Profile) -> TrainingSpec:
    """The spec, with the recipe's values where it has none."""
    if spec.members is None and "architecture" not in spec.model_fields_set:
        spec = spec.model_copy(update={"members": _members(spec, profile)})
    if spec.members is None:
        return _member(spec, profile)
    trials = [_member(trial, profile) for trial in spec.trials()]
    members = [
        MemberSettings(**{name: getattr(trial, name) for name in MemberSettings.model_fields})
        for trial in trials
    ]
    longest = max(member.max_epochs for member in members)  # shown as the job's
    return spec.model_copy(update={"members": members, "max_epochs": longest})


def _members(spec: TrainingSpec, profile: Profile) -> list[MemberSettings] | None:
    """Those of the recipe's blend; None: it is one network. Members have no value that the spec
    has."""
    is_number = task_of(spec) == REGRESSION
    if spec.effort == "quick" or spec.loss not in (None, *BLENDED_LOSSES):
        return None
    classes = next(own.distinct for own in profile.columns if own.name == spec.target)
    rows = seen_rows(spec, profile)
    is_large = spec.effort == "standard" and rows >= MANY_ROWS
    network = {"max_epochs": FEWER_EPOCHS, "members_per_fold": 1} if is_large else {}
    networks = [{"dropout": dropout, **network} for dropout in DROPOUTS]
    if not is_number or "dropout" in spec.model_fields_set:
        del networks[1:]
    members = [MemberSettings(**_without(own, spec.model_fields_set)) for own in networks]
    if is_number or classes <= MOST_TREE_CLASSES:
        trees = BoostedTreesArchitecture(
            type="boosted_trees", **({"leaf_rows": LEAF_ROWS} if is_number else {})
        )
        members.append(MemberSettings(architecture=trees))
    if is_number and spec.loss in (None, "squared_error") and not is_large:
        members.append(MemberSettings(architecture=KernelArchitecture(type="kernel")))
        if rows < LINE_ROWS:
            members.append(MemberSettings(architecture=RidgeArchitecture(type="ridge")))
    return members if len(members) > 1 else None


def _member(spec: TrainingSpec, profile: Profile) -> TrainingSpec:
    """A spec without members, or one member's, with the values for its architecture; without an
    architecture, that of the recipe's network."""
    if spec.architecture.is_fitted:
        return spec.model_copy(update={"early_stopping": None, "max_epochs": 1})
    if spec.architecture.type == "perceptron":
        return _as_taught(spec)
    if spec.architecture.type == "linear":
        return _straight(spec)
    if "architecture" in spec.model_fields_set:
        return spec
    optimizer: dict[str, Any] = {"learning_rate": 1e-3, "schedule": "cosine"}
    chosen: dict[str, Any] = {"max_epochs": 60, "members_per_fold": 2}
    codes: PiecewiseLinear | None = _codes(16)
    line: LinearPath = False
    rows = seen_rows(spec, profile)
    if rows >= MANY_ROWS:
        codes = _codes(32)
        optimizer["learning_rate"] = 1.5e-3
        chosen |= {"batch_size": 128, "early_stopping": None}
    elif task_of(spec) == CLASSIFICATION:
        # A line through several columns often separates few rows. So training starts from the best
        # one, and the network learns what it leaves; codes of single columns would hide it.
        codes, line = None, "least_squares"
        optimizer["learning_rate"] = 2e-3
        chosen["batch_size"] = 32
    if rows >= VERY_MANY_ROWS:
        optimizer["learning_rate"] = 3e-3
        chosen |= {"batch_size": 512, "max_epochs": 30, "members_per_fold": 1}
    if spec.optimizer.name == "sgd":  # the recipe's rates are for Adam
        del optimizer["learning_rate"]
    chosen["architecture"] = MlpArchitecture(
        hidden_sizes=HIDDEN_SIZES, numeric_embedding=codes, linear_path=line
    )
    kept = _without(optimizer, spec.optimizer.model_fields_set)
    chosen["optimizer"] = spec.optimizer.model_copy(update=kept)
    return spec.model_copy(update=_without(chosen, spec.model_fields_set - {"optimizer"}))


def _straight(spec: TrainingSpec) -> TrainingSpec:
    """Settings that keep a linear model near least squares, where it begins: `robust` scaling would
    bend the line; rows held back for early stopping and a constant rate would move it away."""
    updates: dict[str, Any] = {}
    if "early_stopping" not in spec.model_fields_set:
        updates["early_stopping"] = None
    if "schedule" not in spec.optimizer.model_fields_set:
        updates["optimizer"] = spec.optimizer.model_copy(update={"schedule": "cosine"})
    if "numeric_scaling" not in spec.preprocessing.model_fields_set:
        scaled = {"numeric_scaling": "standard"}
        updates["preprocessing"] = spec.preprocessing.model_copy(update=scaled)
    return spec.model_copy(update=updates)


def _as_taught(spec: TrainingSpec) -> TrainingSpec:
    """The perceptron's rule: one row at a time and a rate of 1, all rows until none is wrong."""
    updates: dict[str, Any] = {
        "batch_size": 1,
        "dropout": 0.0,
        "early_stopping": None,
        "max_epochs": PERCEPTRON_EPOCHS,
    }
    updates = _without(updates, spec.model_fields_set)
    optimizer = {"name": "sgd", "learning_rate": 1.0, "momentum": 0.0}
    updates["optimizer"] = spec.optimizer.model_copy(
        update=_without(optimizer, spec.optimizer.model_fields_set)
    )
    if "numeric_scaling" not in spec.preprocessing.model_fields_set:
        scaled = {"numeric_scaling": "standard"}
        updates["preprocessing"] = spec.preprocessing.model_copy(update=scaled)
    return spec.model_copy(update=updates)


def _codes(bins: int) -> PiecewiseLinear:
    return PiecewiseLinear(type="piecewise_linear", bins=bins)


def _without(values: dict[str, Any], given: set[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in given}
