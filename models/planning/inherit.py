"""What a spec that starts from an earlier model has from that model's spec, and what it must."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models.planning.faults import SpecFault
from models.planning.layers import affine_layers
from models.spec import Features, MemberSettings, TrainingSpec
from models.tables.profile import ColumnProfile, Profile

# Each job has its own.
OWN = {"initialize_from", "freeze", "holdout", "learning_curve", "baselines", "effort", "seed"}
# Parts of a spec of which some settings may be given.
NESTED = ("preprocessing", "optimizer")
# What may differ between a network and the one that it starts from.
FREE = {"initialization"}


def inherit(spec: TrainingSpec, earlier: TrainingSpec, profile: Profile) -> TrainingSpec:
    """A submitted spec with the settings of an earlier model's resolved spec where it has none. One
    that names its networks has only the other settings."""
    given = spec.model_fields_set
    wanted = set(TrainingSpec.model_fields) - OWN
    if given & {"architecture", "members"}:
        wanted -= {*MemberSettings.model_fields, "members", "weights"}
    changes: dict[str, Any] = {
        name: getattr(earlier, name) for name in wanted - given - {"features"}
    }
    for name in NESTED:
        if name in wanted & given:
            part = getattr(spec, name)
            own = {field: getattr(part, field) for field in part.model_fields_set}
            changes[name] = getattr(earlier, name).model_copy(update=own)
    if "members" in changes and earlier.members is not None:
        changes["members"] = [
            own
            if own.architecture.is_fitted
            else _member(own, {name: changes.get(name, getattr(spec, name)) for name in given})
            for own in earlier.members
        ]
    changes["features"] = _features(spec, earlier, profile)
    return spec.model_copy(update=changes)


def _member(member: MemberSettings, given: dict[str, Any]) -> MemberSettings:
    """A blend's network, with the settings that the submitted spec has for all."""
    own = {name: value for name, value in given.items() if name in MemberSettings.model_fields}
    return member.model_copy(update=own)


def _features(spec: TrainingSpec, earlier: TrainingSpec, profile: Profile) -> Features:
    """The earlier columns that the table still has, as they were, and those that are new."""
    own, before = spec.features, earlier.features
    names = {column.name for column in profile.columns} - {spec.target}
    if own.include is not None:
        names &= {*own.include}
    names -= {*own.exclude}
    kinds = {
        column.name: kind
        for column in profile.columns
        if (kind := before.kinds.get(column.name)) is not None
        and column.name in names
        and _can_be(column, kind)
    }
    left_out = [name for name in before.exclude if name in names and name not in own.kinds]
    fields: dict[str, Any] = {
        "kinds": kinds | own.kinds,
        "exclude": [*own.exclude, *left_out] if own.include is None else [],
        "include": own.include,
        "comparables": before.comparables,
        "group_means": _known(before.group_means, names),
        "coordinates": before.coordinates
        if before.coordinates is None or {*before.coordinates} <= {*kinds}
        else "auto",
    }
    for name in ("comparables", "group_means", "coordinates"):
        if name in own.model_fields_set:
            fields[name] = getattr(own, name)
    return Features(**fields)


def _can_be(column: ColumnProfile, kind: str) -> bool:
    return column.storage != ("text" if kind == "numeric" else "datetime")


def _known(given: Any, names: set[str]) -> Any:
    return [name for name in given if name in names] if isinstance(given, list) else given


def differences(spec: TrainingSpec, earlier: TrainingSpec, model: str) -> list[SpecFault]:
    """Why the networks of a resolved spec cannot start from those of `model`, whose resolved spec
    is `earlier`."""
    return [SpecFault(pointer, detail) for pointer, detail in _differences(spec, earlier, model)]


def _differences(
    spec: TrainingSpec, earlier: TrainingSpec, model: str
) -> Iterator[tuple[str, str]]:
    for name in ("target", "task", "k_folds"):
        before, now = getattr(earlier, name), getattr(spec, name)
        if now != before:
            yield f"/{name}", f"{model} has {name} {before!r}, not {now!r}: both must be the same"
    for name in ("numeric_missing", "numeric_scaling", "target_transform"):
        before, now = getattr(earlier.preprocessing, name), getattr(spec.preprocessing, name)
        if now != before:
            yield (
                f"/preprocessing/{name}",
                f"{model} learnt with '{before}', so its weights mean nothing with '{now}'",
            )
    if spec.holdout is not None:
        yield (
            "/holdout",
            f"rows that {model} has learnt from cannot be held out from its networks: leave it out",
        )
    if spec.learning_curve:
        yield (
            "/learning_curve",
            f"a part of the rows would start from what {model} learnt from all: leave it out",
        )
    trials, before_trials = spec.trials(), earlier.trials()
    if (spec.members is None) != (earlier.members is None) or len(trials) != len(before_trials):
        what = "one network" if earlier.members is None else f"{len(before_trials)} members"
        pointer = "/architecture" if spec.members is None else "/members"
        yield (
            pointer,
            f"{model} has {what}: leave out both 'architecture' and 'members' to have the same",
        )
        return
    if all(trial.architecture.is_fitted for trial in trials):
        yield "/initialize_from", f"{model} is solved, not trained in epochs, so it starts nothing"
    for place, (trial, before) in enumerate(zip(trials, before_trials, strict=True)):
        at = "" if spec.members is None else f"/members/{place}"
        yield from _networks_differ(trial, before, model, at)


def _networks_differ(
    trial: TrainingSpec, before: TrainingSpec, model: str, at: str
) -> Iterator[tuple[str, str]]:
    own, other = trial.architecture, before.architecture
    if own.type != other.type:
        yield f"{at}/architecture/type", f"{model} has '{other.type}' here, not '{own.type}'"
        return
    if own.is_fitted:
        return
    layers, others = affine_layers(own), affine_layers(other)
    if not layers:
        yield f"{at}/architecture/type", f"'{own.type}' cannot start from an earlier model"
    for name in dict.fromkeys([*layers, *others]):
        if layers.get(name) != others.get(name):
            shown, needed = (_shown(every.get(name)) for every in (layers, others))
            yield (
                f"{at}/architecture",
                f"layer '{name}' has {shown}, and that of {model} has {needed}",
            )
            return
    for field in type(own).model_fields:
        if field not in FREE and getattr(own, field) != getattr(other, field):
            yield (
                f"{at}/architecture/{field}",
                f"{model} has {_text(getattr(other, field))}, not {_text(getattr(own, field))}",
            )
    if trial.members_per_fold > before.members_per_fold:
        yield (
            f"{at}/members_per_fold",
            f"{model} has {before.members_per_fold} in each fold to start from",
        )
    if trial.early_stopping is not None and before.early_stopping is None:
        yield (
            f"{at}/early_stopping",
            f"{model} has learnt from all training rows, so none is left to watch: set it to null",
        )


def _shown(ends: tuple[int | str, int | str] | None) -> str:
    return "no weights" if ends is None else f"{ends[0]} × {ends[1]} weights"


def _text(value: Any) -> str:
    return repr(value.model_dump(mode="json") if hasattr(value, "model_dump") else value)
