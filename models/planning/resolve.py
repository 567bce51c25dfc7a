"""Resolves a submitted spec against a table's profile, or refuses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from models.data.aside import groups_needed, seen_rows, times_needed
from models.objectives import objective_of, task_for
from models.planning.recipe import apply_recipe
from models.spec import Comparables, Features, MemberSettings, Task, TrainingSpec
from models.tables import coordinates
from models.tables.columns import LOOKALIKES
from models.tables.profile import ColumnProfile, Profile
from models.tables.wording import pointer_part

# Scored rows that a fold needs for a meaningful error.
MIN_ROWS_PER_FOLD = 2
NAMED = 5  # columns named in one message
Refuse = Callable[[str, str], None]

LEFT_OUT_KINDS = {
    "identifier": "it names rows and says nothing about the next one",
    "text": "it is free text",
    "constant": "it has one value",
}


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


def resolve(spec: TrainingSpec, profile: Profile) -> TrainingSpec:
    """Fill in every default of the spec for the table.

    Columns that are left out because of their kind are added to `features.exclude`. Every remaining
    column gets its kind in `features.kinds`. With a holdout, settings that depend on the target
    stay open, because the profile includes the holdout's rows (`models.data.design.complete_spec`).

    Raises
    ------
    SpecError: listing everything that does not fit the table.
    """
    target = _column(profile, spec.target)
    if target is not None:
        spec = spec.model_copy(update={"task": _task(spec, profile, target)})
    faults = list(_faults(spec, profile))
    if faults:
        raise SpecError(faults)
    assert target is not None
    spec = objective_of(spec).with_defaults(spec, target)
    if spec.holdout is None:
        spec = objective_of(spec).complete(spec, target.min, target.skewness)
    kinds: dict[str, Literal["numeric", "categorical"]] = {}
    left_out: dict[str, str] = {}
    for column in profile.columns:
        if column.name == spec.target:
            continue
        if reason := _why_left_out(column, spec):
            left_out[column.name] = reason
        else:
            kind = spec.features.kinds.get(column.name)
            kinds[column.name] = kind or _default_kind(column)
    if not kinds:
        raise SpecError([_nothing_left(left_out, profile)])
    spec = apply_recipe(spec, profile)
    located = _coordinates(spec, profile, kinds)
    resolved = spec.model_copy(
        update={
            "features": Features(
                exclude=[*dict.fromkeys([*spec.features.exclude, *left_out])],
                kinds=kinds,
                coordinates=located,
                comparables=_comparables(spec, located),
                group_means=_group_means(spec, kinds),
            )
        }
    )
    if fault := _dropped_rows_fault(resolved, profile):
        raise SpecError([fault])
    return resolved


def _task(spec: TrainingSpec, profile: Profile, target: ColumnProfile) -> Task:
    """Many words that mostly look like numbers are more likely misread numbers than classes."""
    if spec.task != "auto":
        return spec.task
    if target.kind == "text" and _remedy(profile, target.name):
        return "regression"
    return task_for(target)


def _default_kind(column: ColumnProfile) -> Literal["numeric", "categorical"]:
    return "categorical" if column.storage == "text" else "numeric"


def _why_left_out(column: ColumnProfile, spec: TrainingSpec) -> str | None:
    """None: the column is a feature."""
    name, features = column.name, spec.features
    if name in features.exclude:
        return "it is excluded"
    if spec.folds.type == "group" and name == spec.folds.column:
        return "it decides the folds"
    if features.include is not None:
        return None if name in features.include else "it is not included"
    return None if name in features.kinds else LEFT_OUT_KINDS.get(column.kind)


def _nothing_left(left_out: dict[str, str], profile: Profile) -> SpecFault:
    reasons = [f"'{name}' ({why})" for name, why in [*left_out.items()][:NAMED]]
    more = f" and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
    by_kind = [
        column for column in profile.columns if left_out.get(column.name) in LEFT_OUT_KINDS.values()
    ]
    remedy = ""
    if by_kind:
        kind = _default_kind(by_kind[0])
        remedy = f'; to use one anyway, set features.kinds: {{"{by_kind[0].name}": "{kind}"}}'
    detail = f"no column is left to predict from: {', '.join(reasons)}{more}{remedy}"
    return SpecFault("/features", detail)


def _dropped_rows_fault(spec: TrainingSpec, profile: Profile) -> SpecFault | None:
    """A fault if `drop_rows` leaves too few rows of a resolved spec. The column with the most gaps
    bounds how many rows are left."""
    if spec.preprocessing.numeric_missing != "drop_rows":
        return None
    gaps = {
        column.name: column.missing
        for column in profile.columns
        if spec.features.kinds.get(column.name) == "numeric"
    }
    name = max(gaps, key=gaps.__getitem__, default=None)
    if name is None:
        return None
    most = min(profile.rows - gaps[name], seen_rows(spec, profile))
    if most >= spec.k_folds * MIN_ROWS_PER_FOLD:
        return None
    return SpecFault(
        "/preprocessing/numeric_missing",
        f"'drop_rows' leaves at most {most} rows, too few for {spec.k_folds} "
        f"folds: use 'mean' or 'median', or exclude '{name}'",
    )


def _coordinates(
    spec: TrainingSpec, profile: Profile, kinds: dict[str, Literal["numeric", "categorical"]]
) -> tuple[str, str] | None:
    numeric = {name for name, kind in kinds.items() if kind == "numeric"}
    given = spec.features.coordinates
    if given == "auto":
        return coordinates.detect(profile, numeric)
    if given is not None and not set(given) <= numeric:
        raise SpecError(
            [
                SpecFault(
                    f"/features/coordinates/{place}",
                    f"'{name}' is not a numeric feature",
                )
                for place, name in enumerate(given)
                if name not in numeric
            ]
        )
    return given


def _comparables(
    spec: TrainingSpec, located: tuple[str, str] | None
) -> Literal["auto"] | list[Comparables] | None:
    given = spec.features.comparables
    if given == "auto":
        return "auto" if _learns_from_neighbours(spec) else None
    if given and "location" in given and located is None:
        fault = SpecFault(
            f"/features/comparables/{given.index('location')}",
            "'location' needs two numeric columns that locate a row: name them in "
            "features.coordinates",
        )
        raise SpecError([fault])
    return given or None


def _group_means(
    spec: TrainingSpec, kinds: dict[str, Literal["numeric", "categorical"]]
) -> Literal["auto"] | list[str] | None:
    given = spec.features.group_means
    if given == "auto":
        return "auto" if _learns_from_neighbours(spec) else None
    unknown = [name for name in given or () if name not in kinds]
    if unknown:
        raise SpecError(
            [
                SpecFault(f"/features/group_means/{place}", f"'{name}' is not a feature")
                for place, name in enumerate(given or ())
                if name in unknown
            ]
        )
    return given or None


def _learns_from_neighbours(spec: TrainingSpec) -> bool:
    """Whether `auto` may add inputs from other rows' targets: in blends that predict numbers."""
    return spec.members is not None and spec.task == "regression"


def _column(profile: Profile, name: str) -> ColumnProfile | None:
    return next((column for column in profile.columns if column.name == name), None)


def _faults(spec: TrainingSpec, profile: Profile) -> list[SpecFault]:
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
        column = _column(profile, name)
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
            refuse(pointer, f"'{name}' holds words{_remedy(profile, name)}")
        elif kind == "categorical" and column.storage == "datetime":
            refuse(pointer, f"'{name}' holds dates, which can only be numeric")
    for at, given in _members(spec):
        if given.batch_size == 1 and getattr(given.architecture, "normalization", "") == "batch":
            refuse(
                f"{at}/batch_size",
                "batch normalization needs the mean and deviation of several rows: set a batch "
                "size of 2 or more, or architecture.normalization to 'layer'",
            )
        watched = given.early_stopping.fraction if given.early_stopping else None
        if watched is not None and watched != spec.watched_fraction:
            refuse(
                f"{at}/early_stopping/fraction",
                "members of a blend that stop early watch the same rows: give all of them one "
                "fraction",
            )
    _neighbour_faults(spec, profile, refuse)
    _target_faults(spec, profile, refuse)
    _fold_faults(spec, profile, refuse)
    return faults


def _members(spec: TrainingSpec) -> list[tuple[str, MemberSettings]]:
    """The members, or the spec itself, each with the pointer to its place."""
    if spec.members is None:
        return [("", spec)]
    return [(f"/members/{place}", member) for place, member in enumerate(spec.members)]


def _neighbour_faults(spec: TrainingSpec, profile: Profile, refuse: Refuse) -> None:
    """Of inputs from other rows' targets."""
    if isinstance(spec.features.group_means, list):
        for place, name in enumerate(spec.features.group_means):
            pointer = f"/features/group_means/{place}"
            if _column(profile, name) is None:
                refuse(pointer, f"the table has no column '{name}'")
            elif name == spec.target:
                refuse(pointer, f"'{name}' is the target and cannot be a feature")


def _target_faults(spec: TrainingSpec, profile: Profile, refuse: Refuse) -> None:
    target = _column(profile, spec.target)
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
        for pointer, detail in objective.faults(spec, target):
            at_target = pointer == "/target"
            refuse(pointer, detail + (_remedy(profile, spec.target) if at_target else ""))


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
    if spec.folds.column is None:
        return
    column = _column(profile, spec.folds.column)
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


def _remedy(profile: Profile, name: str) -> str:
    """What the profile reports about words that look like numbers or occur among numbers."""
    for warning in profile.warnings:
        if warning.column == name and warning.code in (*LOOKALIKES, "mixed_numbers"):
            return f": {warning.detail.removesuffix('.')}"
    return ""
