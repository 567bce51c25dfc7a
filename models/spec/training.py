"""A training spec and its parts, the architecture aside."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from models.spec.architectures import Architecture, MlpArchitecture
from models.spec.base import SpecModel, rename

ColumnKind = Literal[
    "numeric", "categorical", "binary", "datetime", "identifier", "text", "constant"
]
TargetTransform = Literal["log", "none"]
Schedule = Literal["constant", "cosine", "flat_cosine", "multi_cosine"]
Loss = Literal["squared_error", "absolute_error", "huber"]

SHORT_NAMES = {"wd": "weight_decay", "k": "k_folds"}


def _pair_of_names(given: Any) -> Any:
    """One sentence instead of one a branch of the union."""
    if isinstance(given, list | tuple):
        given = tuple(given)
        if len(given) == 2 and all(isinstance(name, str) for name in given):
            return given
    elif given is None or given == "auto":
        return given
    raise ValueError("must be a list of two column names, 'auto' or null")


class Features(SpecModel):
    """Which columns the network sees, and as what."""

    include: list[str] | None = Field(
        default=None,
        min_length=1,
        description="The only columns to use; a resolved spec has the others in `exclude` instead.",
    )
    exclude: list[str] = Field(
        default_factory=list, description="Columns to leave out, besides the target."
    )
    kinds: dict[str, Literal["numeric", "categorical"]] = Field(
        default_factory=dict,
        description="Overrides of the profile's kinds, for example a class code read as a number.",
    )
    coordinates: Annotated[
        Literal["auto"] | tuple[str, str] | None, BeforeValidator(_pair_of_names)
    ] = Field(
        default="auto",
        description="Two numeric columns that say where a row is, such as latitude and longitude: "
        "distances along turned axes are given beside them. `auto` finds them by their names.",
    )

    @model_validator(mode="after")
    def _one_list(self) -> Features:
        if self.include is not None and self.exclude:
            raise ValueError("'include' and 'exclude' contradict each other: give one of them")
        return self


class Preprocessing(SpecModel):
    """How a fold turns cells into inputs; everything is learnt on the fold's training rows."""

    numeric_missing: Literal["mean", "median", "zero", "drop_rows"] = Field(
        default="mean",
        description="What stands in for a missing number. `drop_rows` leaves such rows out of "
        "training; a scored or served row gets the mean.",
    )
    numeric_scaling: Literal["standard", "robust", "quantile", "none"] = Field(
        default="robust",
        description="`standard`: (x − mean) / standard deviation. `robust`: (x − median) / "
        "interquartile range, smoothly clipped to ±3; in a column that is mostly one value the "
        "typical distance of the others replaces the range, and a number beyond ten of these "
        "counts as the farthest within. `quantile`: the rank among the training rows, uniform "
        "with unit variance.",
    )
    categorical_missing: Literal["level"] = Field(
        default="level", description="A missing category is a level of its own."
    )
    target_transform: TargetTransform | None = Field(
        default=None,
        description="`log` trains on log(y); either is standardised by the fold's training rows. "
        "Default: `log` when every target is positive and their skewness exceeds 1.",
    )
    retransform: Literal["median", "mean"] = Field(
        default="median",
        description="What a prediction is of a target learnt as its logarithm. `median`: about "
        "half of the truths lie above it, and totals come out low. `mean`: it is multiplied so "
        "that totals come out right (smearing of Duan 1983, from the residuals of other folds). "
        "With `none` both are the mean.",
    )


class Folds(SpecModel):
    """How rows are dealt into folds."""

    type: Literal["shuffled", "stratified", "group", "time"] = Field(
        default="shuffled",
        description="`stratified`: quantile bins of the target spread evenly. `group`: rows that "
        "share a value of `column` stay together. `time`: rows are sorted by `column`, and each "
        "fold is scored by a model that saw only earlier rows. Rows of the same time stay "
        "together.",
    )
    column: str | None = Field(default=None, description="Needed for `group` and `time`.")

    @model_validator(mode="after")
    def _column_fits_type(self) -> Folds:
        needs_column = self.type in ("group", "time")
        if needs_column and self.column is None:
            raise ValueError(f"folds of type '{self.type}' need a column")
        if not needs_column and self.column is not None:
            raise ValueError(f"folds of type '{self.type}' take no column")
        return self


class Optimizer(SpecModel):
    """Weight decay is decoupled for every optimiser (Loshchilov and Hutter 2019,
    arXiv 1711.05101), so `adam` and `adamw` name the same update."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0, le=1e6)
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Used by `sgd` alone.")
    schedule: Schedule = Field(
        default="constant", description="The learning rate over the epochs up to max_epochs."
    )
    gradient_clip: float | None = Field(
        default=None, gt=0, description="Largest L2 norm of one fold model's gradient."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_names(cls, data: Any) -> Any:
        return rename(data, {"lr": "learning_rate"})


class EarlyStopping(SpecModel):
    """Watches a slice of the fold's training rows; the scored rows are never watched."""

    patience: int = Field(default=16, ge=1, le=10_000, description="Epochs without improvement.")
    fraction: float = Field(default=0.1, gt=0, lt=0.5, description="Share of the training rows.")


class Holdout(SpecModel):
    """Rows that no fold sees, scored once by the finished model."""

    fraction: float = Field(default=0.1, gt=0, lt=0.5)


class TrainingSpec(SpecModel):
    """Everything that determines a training run besides the table itself."""

    target: str = Field(
        min_length=1, max_length=255, description="The column to predict; it must be numeric."
    )
    features: Features = Field(default_factory=Features)
    preprocessing: Preprocessing = Field(default_factory=Preprocessing)
    architecture: Architecture = Field(
        default_factory=MlpArchitecture,
        description="Left out, a recipe that was chosen by measurement and follows the table's "
        "size: an `mlp` on piecewise-linear codes, with a schedule, a number of epochs and of "
        "members a fold, unless the spec says otherwise.",
    )
    dropout: float = Field(default=0.3, ge=0, description="Probability of zeroing a hidden unit.")
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="Decoupled: each step takes a share learning_rate × weight_decay off every "
        "weight, biases aside. Over a few thousand steps at 1e-3 that is felt from 0.1 on.",
    )
    k_folds: int = Field(default=5, ge=2, le=50)
    folds: Folds = Field(default_factory=Folds)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    batch_size: int = Field(default=64, ge=1, le=65_536)
    max_epochs: int = Field(default=100, ge=1, le=10_000)
    early_stopping: EarlyStopping | None = Field(default_factory=EarlyStopping)
    holdout: Holdout | None = None
    members_per_fold: int = Field(
        default=1, ge=1, le=64, description="Seeds that train and are averaged in each fold."
    )
    loss: Loss = "squared_error"
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="before")
    @classmethod
    def _short_names(cls, data: Any) -> Any:
        renamed = rename(data, SHORT_NAMES)
        if isinstance(renamed, dict) and "lr" in renamed:
            renamed = _with_rate(renamed)
        return renamed

    @field_validator("dropout")
    @classmethod
    def _dropout_leaves_units(cls, dropout: float) -> float:
        if dropout >= 1:
            raise ValueError(
                f"dropout must be below 1, got {dropout:.15g}: with p = 1 every hidden unit "
                "is zeroed and nothing can be learnt"
            )
        return dropout


def _with_rate(spec: dict[str, Any]) -> dict[str, Any]:
    """`lr` beside `wd` and `k` is the optimiser's learning rate."""
    optimizer = spec.get("optimizer", {})
    if not isinstance(optimizer, dict) or {"lr", "learning_rate"} & optimizer.keys():
        raise ValueError("'lr' is short for 'optimizer.learning_rate': give one of them, not both")
    kept = {name: value for name, value in spec.items() if name != "lr"}
    return {**kept, "optimizer": {**optimizer, "learning_rate": spec["lr"]}}
