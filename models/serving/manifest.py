"""The description of a model: the file `manifest.json` next to its graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.artifacts import EarlierModel
from models.data.design import Design, Vocabulary
from models.objectives import REGRESSION, task_of
from models.planning.review.started import NOT_OUT_OF_FOLD
from models.planning.review.warning import SpecWarning
from models.randomness import stream_seed
from models.serving.likeness import Likeness
from models.serving.reference import Background, Outliers
from models.spec import TrainingSpec
from models.sweeps.outcome import SweepOutcome
from models.tables.readings import Reading

MEMBERS, SPREAD = "members", "spread"
# Outputs of `model.onnx`, whatever it predicts.
GRAPH_NAMES = ("value", "probabilities", "label", MEMBERS, SPREAD)
# Names inside `model.onnx` that no column may have.
PREFIX = "foldhouse:"
# Bins of a numeric column; fewer if many rows have the same number.
BINS = 10


class NumericFeature(BaseModel):
    """A column of numbers; a date is seconds since 1970, UTC. `low` and `high`: range in training.
    `reading`: how texts that are not plain numbers or dates are converted.

    `shares`: shares of the training rows by their bin between `edges`, where bin b is (edge b − 1,
    edge b]; the last is the share without a number.
    """

    kind: Literal["numeric", "datetime"]
    name: str
    low: float | None
    high: float | None
    reading: Reading | None = None
    edges: list[float] = []
    shares: list[float] = []

    @property
    def is_flag(self) -> bool:
        """Whether training saw only 0 and 1, so that true and false mean the same."""
        return (
            self.kind == "numeric" and (self.low, self.high) == (0, 1) and {*self.edges} <= {0, 1}
        )


class CategoricalFeature(BaseModel):
    """A column of words, or of numbers taken as words.

    A level's code is its index in `levels`; null is the level of missing cells. `shares`: shares of
    the training rows by level; the last is that of rows with none of them.
    """

    kind: Literal["categorical"]
    name: str
    numbers: bool
    levels: list[str | None]
    reading: Reading | None = None
    shares: list[float] = []

    @property
    def is_flag(self) -> bool:
        """Whether training saw only the numbers 0 and 1, so that true and false mean the same."""
        return self.numbers and {*self.levels} <= {"0", "1", None}


class Importance(BaseModel):
    """The relative increase of the out-of-fold error when the column's cells are shuffled, and its
    standard error; None if unknown."""

    column: str
    error_growth: float
    standard_error: float | None = None


class Manifest(BaseModel):
    """Schema, metrics and origin of a model.

    `core.onnx` takes `numbers` (N, D) float64 and `codes` (N, C) int64 in the order of the two
    lists of features; an unknown level's code is the number of levels. `model.onnx` takes each
    column under its `inputs` name. What models of earlier versions lack is None or empty.
    """

    # An objective adds its own.
    model_config = ConfigDict(extra="allow")

    format: Literal[1] = 1
    task: str = REGRESSION
    target: str
    unit: str | None = Field(default=None, description="Of the target, as its cells spelt it.")
    numeric: list[NumericFeature]
    categorical: list[CategoricalFeature]
    inputs: dict[str, str]
    members: int
    rows: int = 0  # out of fold
    metrics: dict[str, float | None]
    metrics_error: dict[str, float | None] = {}
    spec: dict[str, Any]
    receipt: dict[str, Any]
    importance: list[Importance] = []
    outliers: Outliers | None = None
    background: Background | None = None
    likeness: Likeness | None = None
    warnings: list[SpecWarning] = []
    sweep: SweepOutcome | None = Field(default=None, exclude_if=lambda sweep: sweep is None)

    @model_validator(mode="before")
    @classmethod
    def _counted(cls, data: Any) -> Any:
        """An earlier version wrote the rows only beside its intervals."""
        if isinstance(data, dict) and "rows" not in data and data.get("calibration"):
            return {**data, "rows": data["calibration"]["rows"]}
        return data

    @property
    def columns(self) -> list[str]:
        """The columns that the model uses, numbers first."""
        numbers = [feature.name for feature in self.numeric]
        return numbers + [feature.name for feature in self.categorical]

    def earlier_model(
        self, model_id: str, weights: Path, roles: Path, parquet: Path
    ) -> EarlierModel:
        """This model, to start another from, with its files and its table."""
        is_out_of_fold = all(warning.code != NOT_OUT_OF_FOLD for warning in self.warnings)
        columns = (*self.columns, self.target)
        return EarlierModel(model_id, columns, is_out_of_fold, weights, roles, parquet)

    @property
    def first_served(self) -> int:
        """The first member that is averaged: with folds in time, the first of the last fold."""
        in_time = self.spec.get("folds", {}).get("type") == "time"
        return self.members - self.members_per_fold if in_time else 0

    @property
    def members_per_fold(self) -> int:
        """The members of a blend are averaged inside its graphs."""
        return 1 if self.spec.get("members") else int(self.spec["members_per_fold"])


def input_names(design: Design) -> dict[str, str]:
    """Column to input of `model.onnx`: its own name, unless the graph uses that name itself."""
    names = [*design.numeric, *(vocabulary.name for vocabulary in design.categorical)]
    inputs: dict[str, str] = {}
    for name in names:
        taken = {*names, *inputs.values()} - {name} | {*GRAPH_NAMES}
        input_name = name
        while input_name.startswith(PREFIX) or input_name in taken:
            input_name = f"column {input_name}"
        inputs[name] = input_name
    return inputs


def describe(
    design: Design,
    spec: TrainingSpec,
    *,
    kept: dict[str, Any],
    importance: list[dict[str, Any]],
    likeness: Likeness,
    members: int,
    rows: int,
    unit: str | None = None,
    receipt: dict[str, Any],
    warnings: list[SpecWarning],
) -> Manifest:
    """The manifest of a model trained with a resolved spec; `kept` are the objective's fields."""
    ranked = [row["column"] for row in importance]
    places = sorted(
        range(len(design.numeric)), key=lambda place: ranked.index(design.numeric[place])
    )
    chance = np.random.default_rng(stream_seed(spec.seed, "background"))
    return Manifest(
        task=task_of(spec),
        target=spec.target,
        unit=unit,
        numeric=[
            _numeric(name, kind, column, design.readings.get(name))
            for name, kind, column in zip(
                design.numeric, design.numeric_kinds, design.numbers.T, strict=True
            )
        ],
        categorical=[
            _categorical(vocabulary, codes)
            for vocabulary, codes in zip(design.categorical, design.codes.T, strict=True)
        ],
        inputs=input_names(design),
        members=members,
        rows=rows,
        spec=spec.model_dump(mode="json"),
        receipt=receipt,
        importance=[Importance(**row) for row in importance],
        outliers=Outliers.of(design.numbers, places),
        background=Background.of(design.numbers, design.codes, chance),
        likeness=likeness,
        warnings=warnings,
        **kept,
    )


def _numeric(
    name: str, kind: Literal["numeric", "datetime"], column: np.ndarray, reading: Reading | None
) -> NumericFeature:
    known = column[~np.isnan(column)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (None, None)
    edges: list[float] = []
    if len(known):
        inner = np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1], method="inverted_cdf")
        edges = np.unique(inner).tolist()
    return NumericFeature(
        kind=kind,
        name=name,
        low=low,
        high=high,
        reading=reading,
        edges=edges,
        shares=_shares(bins(column, edges), len(edges) + 2),
    )


def bins(column: np.ndarray, edges: list[float]) -> np.ndarray:
    """(N,) the bin of each number among `edges`, and len(edges) + 1 for a missing one."""
    return np.where(np.isnan(column), len(edges) + 1, np.searchsorted(edges, column))


def _categorical(vocabulary: Vocabulary, codes: np.ndarray) -> CategoricalFeature:
    return CategoricalFeature(
        kind="categorical",
        name=vocabulary.name,
        numbers=vocabulary.numbers,
        levels=vocabulary.levels,
        reading=vocabulary.reading,
        shares=_shares(codes, vocabulary.unknown + 1),
    )


def _shares(places: np.ndarray, count: int) -> list[float]:
    shares: list[float] = (np.bincount(places, minlength=count) / len(places)).tolist()
    return shares
