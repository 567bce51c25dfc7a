"""What contradicts itself, or the table, in a submitted spec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from models.data.aside import groups_needed, seen_rows, times_needed
from models.objectives import objective_of
from models.planning.layers import affine_layers, freezable
from models.spec import MemberSettings, TrainingSpec
from models.spec.training import CURVE_HALVINGS
from models.tables.columns import LOOKALIKES
from models.tables.profile import ColumnProfile, Profile
from models.tables.wording import pointer_part

# Scored rows that a fold needs for a meaningful error.
MIN_ROWS_PER_FOLD = 2
# Training rows of a fold in the first point of a learning curve.
MIN_CURVE_ROWS = 10
Refuse = Callable[[str, str], None]


@dataclass(frozen=True)
class SpecFault:
    """One fault, and its place in the spec (a JSON pointer)."""

    pointer: str
    detail: str


class SpecError(ValueError):
    """The spec cannot be trained on this table."""

    def __init__(self, faults: list[SpecFault]) -> None:
        super().__init__("; ".join(fault.detail for fault in faults))
        self.faults = faults


def faults_of(spec: TrainingSpec, profile: Profile) -> list[SpecFault]:
    """Every contradiction in a submitted spec, within itself or with the table."""
    faults: list[SpecFault] = []

    def refuse(pointer: str, detail: str) -> None:
        faults.append(SpecFault(pointer, detail))

    names = [column.name for column in profile.columns]
    for place, name in enumerate(spec.features.exclude):
        if name not in names:
            refuse(f"/features/exclude/{place}", f"the table has no column '{name}'")
        if name == spec.target:
            refuse(f"/features/exclude/{place}", f"'{name}' is the target and cannot be excluded")
    for place, name in enumerate(spec.features.include or []):
        pointer = f"/features/include/{place}"
        if name not in names:
            refuse(pointer, f"the table has no column '{name}'")
        elif name == spec.target:
            refuse(pointer, f"'{name}' is the target and cannot be a feature")
        elif spec.folds.type == "group" and name == spec.folds.column:
            refuse(pointer, f"'{name}' decides the folds and cannot be a feature")
    pair = spec.features.coordinates
    if isinstance(pair, tuple) and pair[0] == pair[1]:
        refuse("/features/coordinates", "the two columns must be different")
    for name, kind in spec.features.kinds.items():
        column = column_of(profile, name)
        pointer = f"/features/kinds/{pointer_part(name)}"
        if column is None:
            refuse(pointer, f"the table has no column '{name}'")
        elif name == spec.target:
            refuse(pointer, f"'{name}' is the target, not a feature")
        elif name in spec.features.exclude:
            refuse(pointer, f"'{name}' is excluded but has a kind: remove one of the two")
        elif spec.features.include is not None and name not in spec.features.include:
            refuse(pointer, f"'{name}' has a kind but is not included: add it, or remove its kind")
        elif kind == "numeric" and column.storage == "text":
            refuse(pointer, f"'{name}' holds words{remedy(profile, name)}")
        elif kind == "categorical" and column.storage == "datetime":
            refuse(pointer, f"'{name}' holds dates, which can only be numeric")
    for at, given in _members(spec):
        if given.batch_size == 1 and getattr(given.architecture, "normalization", "") == "batch":
            refuse(
                f"{at}/batch_size",
                "batch normalization needs the mean and deviation of several rows: set a batch "
                "size of 2 or more, or architecture.normalization to 'layer'",
            )
        if spec.members is not None and given.architecture.type == "perceptron":
            refuse(
                f"{at}/architecture/type",
                "'perceptron' has a loss of its own and cannot be a member of a blend: use "
                "'linear'",
            )
    _neighbour_faults(spec, profile, refuse)
    _target_faults(spec, profile, refuse)
    _fold_faults(spec, profile, refuse)
    return faults


def watched_faults(spec: TrainingSpec) -> list[SpecFault]:
    """Members of a resolved spec that stop early by other rows than the first that does."""
    return [
        SpecFault(
            f"{at}/early_stopping/fraction",
            "members of a blend that stop early watch the same rows: give all of them one fraction",
        )
        for at, trial in _members(spec)
        if trial.early_stopping and trial.early_stopping.fraction != spec.watched_fraction
    ]


def frozen_faults(spec: TrainingSpec) -> list[SpecFault]:
    """Layers to freeze that a network of a resolved spec does not have, or that leave nothing to
    learn."""
    faults: dict[str, str] = {}
    for _, trial in _members(spec):
        layers = freezable(trial.architecture)
        for place, name in enumerate(spec.freeze):
            if name not in layers and not trial.architecture.is_fitted:
                faults[f"/freeze/{place}"] = (
                    f"'{trial.architecture.type}' has no layer '{name}' to freeze; it has "
                    + (", ".join(layers) or "none")
                )
        if layers and {*affine_layers(trial.architecture)} <= {*spec.freeze}:
            faults["/freeze"] = "every layer is frozen, so nothing is left to learn: leave one out"
    if spec.freeze and all(trial.architecture.is_fitted for _, trial in _members(spec)):
        faults["/freeze"] = "there is no network whose layers could be frozen"
    return [SpecFault(pointer, detail) for pointer, detail in faults.items()]


def _members(spec: TrainingSpec) -> list[tuple[str, TrainingSpec]]:
    """The specs that it trains, each with the pointer to the place of its settings."""
    if spec.members is None:
        return [("", spec)]
    return [(f"/members/{place}", trial) for place, trial in enumerate(spec.trials())]


def _at_member(pointer: str, at: str) -> str:
    """A pointer into one member's settings, or into what all of them share."""
    return at + pointer if pointer.split("/")[1] in MemberSettings.model_fields else pointer


def _neighbour_faults(spec: TrainingSpec, profile: Profile, refuse: Refuse) -> None:
    """Of inputs from other rows' targets."""
    takes_none = not any(own.architecture.takes_extras for _, own in _members(spec))
    for name in ("comparables", "group_means"):
        if takes_none and isinstance(getattr(spec.features, name), list):
            refuse(f"/features/{name}", "only networks take them: add one to 'members'")
    if isinstance(spec.features.group_means, list):
        for place, name in enumerate(spec.features.group_means):
            pointer = f"/features/group_means/{place}"
            if column_of(profile, name) is None:
                refuse(pointer, f"the table has no column '{name}'")
            elif name == spec.target:
                refuse(pointer, f"'{name}' is the target and cannot be a feature")


def _target_faults(spec: TrainingSpec, profile: Profile, refuse: Refuse) -> None:
    target = column_of(profile, spec.target)
    if target is None:
        names = ", ".join(column.name for column in profile.columns[-5:])
        refuse("/target", f"the table has no column '{spec.target}'; its last columns are {names}")
    elif target.missing == profile.rows:
        refuse("/target", f"'{spec.target}' has no values: every cell is missing")
    else:
        objective = objective_of(spec)
        if spec.loss not in (None, *objective.losses):
            known = ", ".join(f"'{name}'" for name in objective.losses)
            refuse("/loss", f"'{spec.loss}' does not apply to {spec.task}: use one of {known}")
        found = [
            (_at_member(pointer, at), detail)
            for at, trial in _members(spec)
            for pointer, detail in objective.faults(trial, target)
        ]
        for pointer, detail in dict.fromkeys(found):
            at_target = pointer == "/target"
            refuse(pointer, detail + (remedy(profile, spec.target) if at_target else ""))


def _fold_faults(spec: TrainingSpec, profile: Profile, refuse: Refuse) -> None:
    rows = seen_rows(spec, profile)
    most = rows // MIN_ROWS_PER_FOLD
    counted = f"{rows} rows with a target" + (", without the holdout" if spec.holdout else "")
    if most < 2 and rows > 0:
        refuse("/k_folds", f"{counted} are too few: two folds need {2 * MIN_ROWS_PER_FOLD}")
    elif spec.k_folds > most > 0:
        refuse(
            "/k_folds",
            f"k_folds must be between 2 and {most} for {counted}, got {spec.k_folds}",
        )
    learnt = rows // (spec.k_folds + 1)  # the first fold in time has the fewest
    if spec.folds.type != "time":
        learnt = rows * (spec.k_folds - 1) // spec.k_folds
    least = MIN_CURVE_ROWS * 2**CURVE_HALVINGS
    if spec.learning_curve and learnt < least:
        refuse(
            "/learning_curve",
            f"a fold needs {least} training rows, of which an eighth still teaches something, and "
            f"has about {learnt}: leave it out, or upload more rows",
        )
    if spec.folds.column is None:
        return
    column = column_of(profile, spec.folds.column)
    if column is None:
        refuse("/folds/column", f"the table has no column '{spec.folds.column}'")
    elif spec.folds.column == spec.target:
        refuse("/folds/column", "the target cannot decide the folds")
    elif spec.folds.type == "group":
        groups = column.distinct + (column.missing > 0)
        needed = groups_needed(spec) + (spec.holdout is not None)
        if groups < needed:
            refuse(
                "/folds/column",
                f"'{column.name}' has {groups} groups, and {spec.k_folds} folds need {needed} "
                "(a whole group belongs to training, early stopping, validation or the holdout)",
            )
    elif column.storage == "text":
        refuse("/folds/column", f"'{column.name}' holds words, which have no order in time")
    elif column.missing:
        refuse("/folds/column", f"'{column.name}' is missing in {column.missing} rows")
    elif column.distinct < times_needed(spec) + (spec.holdout is not None):
        refuse(
            "/folds/column",
            f"'{column.name}' has {column.distinct} distinct times, and {spec.k_folds} folds need "
            f"{times_needed(spec) + (spec.holdout is not None)} (rows of the same time stay "
            "together in training, early stopping, validation or the holdout)",
        )


def remedy(profile: Profile, name: str) -> str:
    """What the profile reports about words that look like numbers or occur among numbers."""
    for warning in profile.warnings:
        if warning.column == name and warning.code in (*LOOKALIKES, "mixed_numbers"):
            return f": {warning.detail.removesuffix('.')}"
    return ""


def column_of(profile: Profile, name: str) -> ColumnProfile | None:
    return next((column for column in profile.columns if column.name == name), None)
