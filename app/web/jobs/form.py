"""The form of a new job, made from the spec's own schema: bounds, choices and descriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from app.jobs.schemas import JobCreate

Json = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """An input of the form.

    path : dotted name in the spec
    kind : `number`, `integer`, `text`, `list` and `numbers` (comma-separated),
        `json` (choices that are JSON)
    choices : values and their words; empty for what is typed
    """

    path: str
    label: str
    kind: str
    description: str
    choices: Sequence[tuple[str, str]] = ()
    low: float | None = None
    high: float | None = None

    @property
    def id(self) -> str:
        return self.path.replace(".", "-")


# Groups of fields by dotted name, with their labels.
GROUPS: Mapping[str, Mapping[str, str]] = {
    "Network": {
        "architecture.hidden_sizes": "Hidden layers, such as 256, 64",
        "architecture.activation": "Activation",
        "architecture.normalization": "Normalisation",
        "architecture.initialization": "Initialisation",
        "dropout": "Dropout",
        "weight_decay": "Weight decay",
        "members_per_fold": "Networks a fold",
    },
    "Training": {
        "optimizer.name": "Optimiser",
        "optimizer.learning_rate": "Learning rate",
        "optimizer.schedule": "Schedule",
        "batch_size": "Batch size",
        "max_epochs": "Epochs, at most",
        "early_stopping": "Early stopping",
        "loss": "Loss",
        "precision": "Precision of a step",
        "seed": "Seed",
    },
    "Honest numbers": {
        "k_folds": "Folds",
        "folds.type": "Rows go to folds",
        "folds.column": "Group or time column",
        "holdout.fraction": "Share held out to the end",
        "learning_curve": "Would more rows help?",
    },
    "Columns": {
        "features.exclude": 'Leave out, comma-separated; "quoted" with a comma',
        "preprocessing.numeric_missing": "Missing numbers become",
        "preprocessing.numeric_scaling": "Numbers are scaled",
        "preprocessing.target_transform": "Target learnt as",
        "preprocessing.retransform": "Predict of a logarithm",
        "rare_classes": "Classes with few rows",
        "class_weights": "Weights of classes",
    },
}
# Choices that are not an enumeration in the schema.
JSON_CHOICES: Mapping[str, Sequence[tuple[str, str]]] = {
    "early_stopping": (("null", "off"), ('{"patience": 16}', "after 16 epochs without gain")),
    "learning_curve": (("true", "train on parts too"),),
    "class_weights": (('"balanced"', "balanced"),),
}
KINDS = {"integer": "integer", "number": "number", "array": "list"}
EFFORTS = {
    "quick": "one network, in seconds",
    "standard": "the best of several kinds, in minutes",
    "thorough": "more of each, in several times that",
}


@cache
def groups() -> dict[str, list[Field]]:
    return {
        title: [_field(path, label) for path, label in fields.items()]
        for title, fields in GROUPS.items()
    }


@cache
def _root() -> Json:
    return JobCreate.model_json_schema()


@cache
def architectures() -> list[str]:
    """The types that a spec can name."""
    found = _root()["properties"]["architecture"]
    return list(found["discriminator"]["mapping"])


def _field(path: str, label: str) -> Field:
    schema = _schema(path)
    if path in JSON_CHOICES:
        return Field(path, label, "json", _words(schema), JSON_CHOICES[path])
    plain: Json = next((each for each in _branches(schema) if _is_plain(each)), {})
    if "enum" in plain:
        choices = [(value, value.replace("_", " ")) for value in plain["enum"]]
        return Field(path, label, "text", _words(schema), choices)
    kind = KINDS.get(str(plain.get("type")), "text")
    if kind == "list" and plain["items"].get("type") == "integer":
        kind = "numbers"
    low = plain.get("minimum", plain.get("exclusiveMinimum"))
    high = plain.get("maximum", plain.get("exclusiveMaximum"))
    return Field(path, label, kind, _words(schema), low=low, high=high)


def _schema(path: str) -> Json:
    """Of a field; through parts, alternatives and references."""
    root = _root()
    found: Json = root
    for name in path.split("."):
        parts = [_resolved(root, branch) for branch in _branches(_resolved(root, found))]
        for part in [*parts, *(_resolved(root, each) for each in _variants(parts))]:
            if name in part.get("properties", {}):
                found = part["properties"][name]
                break
        else:
            raise KeyError(path)
    return _resolved(root, found)


def _branches(schema: Json) -> list[Json]:
    """Its alternatives, or itself."""
    return [*schema.get("anyOf", []), *schema.get("oneOf", [])] or [schema]


def _variants(parts: Sequence[Json]) -> list[Json]:
    return [each for part in parts for each in part.get("oneOf", [])]


def _resolved(root: Json, schema: Json) -> Json:
    if "$ref" in schema:
        target = root["$defs"][schema["$ref"].rpartition("/")[2]]
        return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def _is_plain(schema: Json) -> bool:
    return "enum" in schema or schema.get("type") in ("integer", "number", "string", "array")


def _words(schema: Json) -> str:
    return str(schema.get("description", "")).replace("`", "")
