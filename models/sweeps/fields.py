"""Which fields of a spec a sweep may vary, and for which architectures."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from models.spec import SHORT_NAMES, MemberSettings, TrainingSpec
from models.spec.architectures import Architecture, ArchitectureModel

# Settings of training in epochs: an architecture that is solved has no use for them.
OF_NETWORKS = (
    "dropout",
    "weight_decay",
    "optimizer",
    "batch_size",
    "max_epochs",
    "early_stopping",
    "precision",
)
# The other fields are those of trials, and these of what all trials share.
SHARED = {*TrainingSpec.model_fields} - {*MemberSettings.model_fields}
SEARCHABLE_SHARED = {"preprocessing", "loss", "label_smoothing", "class_weights"}
# What decides which rows the folds have.
OF_ROWS = ("early_stopping.fraction", "preprocessing.numeric_missing")
# What changes the scale of a loss: where it varies, losses on watched rows do not compare.
OF_LOSSES = ("loss", "label_smoothing", "class_weights", "preprocessing.target_transform")
OF_BLENDS = ("members", "effort", "weights")
# What a job does beside its training, or begins with, and a trial does not.
OF_JOBS = ("initialize_from", "freeze", "learning_curve")
NO_TRIALS = "trials start anew and train on all rows: use '{}' in a job with the best trial's spec"
WATCHES = (
    "halving compares trials by the rows that early stopping watches: give another value, or leave "
    "out 'halving'"
)
FULL_NAMES = SHORT_NAMES | {
    "lr": "optimizer.learning_rate",
    "optimizer.lr": "optimizer.learning_rate",
}


def refusal_with(name: str, *, blends: bool, halves: bool) -> str | None:
    """Why a sweep that blends its trials, or halves them, cannot vary a field that others can."""
    if blends and name.split(".")[0] in SEARCHABLE_SHARED:
        return (
            f"the trials of a blend share '{name}', because their outputs are added up: give it "
            'once, outside \'search_space\', or "keep": "best"'
        )
    if halves and any(one == name or one.startswith(f"{name}.") for one in OF_LOSSES):
        return (
            f"halving compares trials by their loss, whose scale '{name}' changes: give it once, "
            "outside 'search_space', or leave out 'halving'"
        )
    return None


def full_name(name: str) -> str:
    return FULL_NAMES.get(name, name)


def refusal(name: str) -> str | None:
    """Why a sweep cannot vary a field, given by its full name; None: it can."""
    first, *rest = name.split(".")
    if first in OF_BLENDS:
        return (
            f"a trial has one architecture, so '{name}' does not vary: search 'architecture', and "
            'set "keep": "blend" to add trials up'
        )
    if first in OF_JOBS:
        return NO_TRIALS.format(first)
    if not _exists(TrainingSpec, (first, *rest)):
        return _unknown(name)
    if first in SHARED - SEARCHABLE_SHARED or name in OF_ROWS:
        return (
            f"trials share the table, its folds and the rows that they watch, so '{name}' does not "
            "vary: give it once, outside 'search_space'"
        )
    if name == "preprocessing":
        return "search its fields, such as 'preprocessing.numeric_scaling'"
    if name == "architecture.type":
        return (
            'search whole architectures instead: "architecture": {"choices": [{"type": "mlp"}, …]}'
        )
    return None


@cache
def architectures() -> dict[str, type[ArchitectureModel]]:
    """The models of all architectures, by type."""
    return {
        get_args(model.model_fields["type"].annotation)[0]: model
        for model in get_args(get_args(Architecture)[0])
    }


def types_with(name: str) -> frozenset[str] | None:
    """The architectures that a field, given by its full name, applies to; None: all."""
    first, *rest = name.split(".")
    if first == "architecture" and rest:
        having = [own for own, model in architectures().items() if _exists(model, tuple(rest))]
        return frozenset(having)
    if first in OF_NETWORKS:
        return frozenset(own for own, model in architectures().items() if not model.is_fitted)
    return None


def _exists(model: type[BaseModel], path: tuple[str, ...]) -> bool:
    field = model.model_fields.get(path[0])
    if field is None or len(path) == 1:
        return field is not None
    return any(_exists(inner, path[1:]) for inner in _models_in(field.annotation))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inside in get_args(annotation):
        yield from _models_in(inside)


def _unknown(name: str) -> str:
    known = [one for one in _names() if refusal(one) is None]
    last = name.rpartition(".")[2]
    near = [one for one in known if one.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(name, known, n=1)
    meant = " or ".join(f"'{one}'" for one in near)
    return f"a spec has no field '{name}'" + (f": did you mean {meant}?" if meant else "")


@cache
def _names() -> tuple[str, ...]:
    def below(model: type[BaseModel], path: str) -> Iterator[str]:
        for name, field in model.model_fields.items():
            yield path + name
            if name != "members":
                for inner in _models_in(field.annotation):
                    yield from below(inner, f"{path}{name}.")

    return tuple(dict.fromkeys(below(TrainingSpec, "")))
