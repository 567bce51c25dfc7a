"""Resolves a submitted spec against a table's profile, or refuses it."""

from __future__ import annotations

from typing import Literal

from models.data.aside import seen_rows
from models.objectives import objective_of, task_for
from models.planning.faults import (
    MIN_ROWS_PER_FOLD,
    SpecError,
    SpecFault,
    column_of,
    faults_of,
    frozen_faults,
    remedy,
    watched_faults,
)
from models.planning.recipe import apply_recipe
from models.spec import Comparables, Features, Task, TrainingSpec
from models.tables import coordinates
from models.tables.profile import ColumnProfile, Profile

NAMED = 5  # columns named in one message
LEFT_OUT_KINDS = {
    "identifier": "it names rows and says nothing about the next one",
    "text": "it is free text",
    "constant": "it has one value",
}


def resolve(spec: TrainingSpec, profile: Profile) -> TrainingSpec:
    """Fill in every default of the spec for the table.

    Columns that are left out because of their kind are added to `features.exclude`. Every remaining
    column gets its kind in `features.kinds`. With a holdout, settings that depend on the target
    stay open, because the profile includes the holdout's rows (`models.data.design.complete_spec`).

    Raises
    ------
    SpecError: listing everything that does not fit the table.
    """
    target = column_of(profile, spec.target)
    if target is not None:
        spec = spec.model_copy(update={"task": _task(spec, profile, target)})
    if faults := faults_of(spec, profile):
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
    if faults := watched_faults(spec) + frozen_faults(spec):
        raise SpecError(faults)
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
    if target.kind == "text" and remedy(profile, target.name):
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
    advice = ""
    if by_kind:
        kind = _default_kind(by_kind[0])
        advice = f'; to use one anyway, set features.kinds: {{"{by_kind[0].name}": "{kind}"}}'
    detail = f"no column is left to predict from: {', '.join(reasons)}{more}{advice}"
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
    """Whether `auto` may add inputs from other rows' targets: in blends that predict numbers. With
    folds in time, a training row would see later targets, and a row to predict cannot."""
    is_in_time = spec.folds.type == "time"
    return spec.members is not None and spec.task == "regression" and not is_in_time
