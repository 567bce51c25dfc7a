"""Specs that follow a finding's advice, whole and ready to submit."""

from __future__ import annotations

from typing import Any

from models.planning.recipe import HIDDEN_SIZES, MANY_ROWS
from models.spec import MemberSettings, TrainingSpec

# What a recipe decides: everything about the networks, and how the target is learnt.
DECIDED = {*MemberSettings.model_fields, "members", "weights", "effort"} - {"seed"}
# By baseline.
ARCHITECTURES = {"ridge": "ridge", "logistic_regression": "linear", "boosting": "boosted_trees"}
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


def better(spec: TrainingSpec, rows: int) -> dict[str, Any] | None:
    """The recipe; for its blend a larger effort; None if that would train the same."""
    if not is_blend(spec):
        return recipe(spec)
    if spec.effort == "thorough" or rows < MANY_ROWS:
        return None
    return recipe(spec) | {"effort": "thorough"}


def rival_alone(spec: TrainingSpec, rival: str) -> dict[str, Any]:
    """The same question to an architecture that is what a baseline is."""
    return recipe(spec) | {
        "architecture": {"type": ARCHITECTURES[rival]},
        "preprocessing": {
            **recipe(spec).get("preprocessing", {}),
            "numeric_scaling": "standard",  # `robust` would bend a line
        },
    }


def is_line(spec: TrainingSpec) -> bool:
    """Whether the model cannot bend."""
    architecture = spec.architecture
    return spec.members is None and (
        architecture.type in ("linear", "ridge", "perceptron")
        or getattr(architecture, "activation", None) == "identity"
    )


def is_blend(spec: TrainingSpec) -> bool:
    """Whether its members are those of the recipe."""
    kinds = {trial.architecture.type for trial in spec.trials()}
    return spec.members is not None and {"mlp", "boosted_trees"} <= kinds


def is_quick(spec: TrainingSpec) -> bool:
    """Whether it is the recipe's one network."""
    sizes = getattr(spec.architecture, "hidden_sizes", None)
    return spec.members is None and spec.effort == "quick" and sizes == HIDDEN_SIZES


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
