"""Specs that follow a finding's advice, whole and ready to submit."""

from __future__ import annotations

from typing import Any

from models.spec import MemberSettings, TrainingSpec

# What a recipe decides: everything about the networks, and how the target is learnt.
DECIDED = {*MemberSettings.model_fields, "members", "weights", "effort"} - {"seed"}
# Of a start from earlier weights, which only fit the network and the inputs that they were learnt
# for.
STARTED: dict[str, Any] = {"initialize_from": None, "freeze": []}


def changed(spec: TrainingSpec, **changes: Any) -> dict[str, Any]:
    """The spec with other settings, and so are those of a blend's members that have their own. A
    dictionary changes parts of a setting."""
    if {"architecture", "preprocessing"} & changes.keys():
        changes |= STARTED
    given = _merged(spec.model_dump(mode="json", exclude={"members"}), changes)
    if spec.members is not None:
        own = [
            member.model_dump(mode="json", include=member.model_fields_set)
            for member in spec.members
        ]
        given["members"] = [
            _merged(member, {name: value for name, value in changes.items() if name in member})
            for member in own
        ]
    return given


def recipe(spec: TrainingSpec) -> dict[str, Any]:
    """The same question to the recipe, which chooses all about the networks."""
    given = spec.model_dump(mode="json", exclude_defaults=True, exclude={*DECIDED, *STARTED})
    given["target"] = spec.target
    for decided in ("comparables", "group_means"):
        given.get("features", {}).pop(decided, None)
    return given


def _merged(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(settings.get(name), dict)
        merged[name] = settings[name] | value if both else value
    return merged


def robust(spec: TrainingSpec) -> dict[str, Any] | None:
    """The spec with a loss that minds large errors less; None if it has one, or its architecture
    takes no other."""
    least_squares = ("kernel", "ridge")
    kinds = [trial.architecture.type for trial in spec.trials()]
    if spec.loss not in (None, "squared_error") or any(kind in least_squares for kind in kinds):
        return None
    return changed(spec, loss="huber")
