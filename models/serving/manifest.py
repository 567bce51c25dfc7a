"""What a model says of itself: the file `manifest.json` beside its graphs."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from models.data.design import Design
from models.spec import TargetTransform, TrainingSpec

OUTPUTS = ["value", "members"]
# Names inside `model.onnx` that no column's name may meet.
PREFIX = "foldhouse:"


class NumericFeature(BaseModel):
    """A column of numbers; a date is seconds since 1970, UTC. `low` and `high`: as trained."""

    kind: Literal["numeric", "datetime"]
    name: str
    low: float | None
    high: float | None


class CategoricalFeature(BaseModel):
    """A column of words, or of numbers taken as words.

    A level's code is its place in `levels`; null is the level of missing cells.
    """

    kind: Literal["categorical"]
    name: str
    numbers: bool
    levels: list[str | None]


class Manifest(BaseModel):
    """Schema, metrics and origin of a model.

    `core.onnx` takes `numbers` (N, D) float64 and `codes` (N, C) int64 in the order of the two
    lists of features; an unknown level's code is the number of levels. `model.onnx` takes each
    column under its `inputs` name.
    """

    format: Literal[1] = 1
    target: str
    target_transform: TargetTransform
    numeric: list[NumericFeature]
    categorical: list[CategoricalFeature]
    inputs: dict[str, str]
    members: int
    metrics: dict[str, float | None]
    spec: dict[str, Any]
    receipt: dict[str, Any]


def input_names(design: Design) -> dict[str, str]:
    """Column to input of `model.onnx`: its own name, unless the graph needs that name itself."""
    names = [*design.numeric, *(vocabulary.name for vocabulary in design.categorical)]
    inputs: dict[str, str] = {}
    for name in names:
        taken = {*OUTPUTS, *names, *inputs.values()} - {name}
        input_name = name
        while input_name in OUTPUTS or input_name.startswith(PREFIX) or input_name in taken:
            input_name = f"column {input_name}"
        inputs[name] = input_name
    return inputs


def describe(
    design: Design,
    spec: TrainingSpec,
    metrics: dict[str, float | None],
    members: int,
    receipt: dict[str, Any],
) -> Manifest:
    """The manifest of a model trained with a resolved spec."""
    assert spec.preprocessing.target_transform is not None
    return Manifest(
        target=spec.target,
        target_transform=spec.preprocessing.target_transform,
        numeric=[
            _numeric(name, kind, column)
            for name, kind, column in zip(
                design.numeric, design.numeric_kinds, design.numbers.T, strict=True
            )
        ],
        categorical=[
            CategoricalFeature(
                kind="categorical",
                name=vocabulary.name,
                numbers=vocabulary.numbers,
                levels=vocabulary.levels,
            )
            for vocabulary in design.categorical
        ],
        inputs=input_names(design),
        members=members,
        metrics=metrics,
        spec=spec.model_dump(mode="json"),
        receipt=receipt,
    )


def _numeric(name: str, kind: Literal["numeric", "datetime"], column: np.ndarray) -> NumericFeature:
    known = column[~np.isnan(column)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (None, None)
    return NumericFeature(kind=kind, name=name, low=low, high=high)
