"""A training spec and its parts, except the architecture."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from models.spec.architectures import Architecture, MlpArchitecture
from models.spec.base import SpecModel, rename

ColumnKind = Literal[
    "numeric", "categorical", "binary", "datetime", "identifier", "text", "constant"
]
TargetTransform = Literal["log", "none"]
Schedule = Literal["constant", "cosine", "flat_cosine", "multi_cosine"]
Task = Literal["auto", "regression", "classification"]
Loss = Literal["squared_error", "absolute_error", "huber", "cross_entropy", "hinge", "perceptron"]

Baseline = Literal["mean", "ridge", "boosting"]
Comparables = Literal["location", "attributes"]
Effort = Literal["quick", "standard", "thorough"]

Precision = Literal["float32", "tf32", "bfloat16", "float16"]
ClassWeight = Annotated[float, Field(gt=0, le=1e6)]

# Points of a learning curve besides the last, each with half of the rows of the next.
CURVE_HALVINGS = 3

SHORT_NAMES = {"wd": "weight_decay", "k": "k_folds"}


def _form(given: Any) -> str:
    return "object" if isinstance(given, dict | SpecModel) else "text"


def _form_or_number(given: Any) -> str:
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return "number" if is_number else _form(given)


def _form_or_list(given: Any) -> str:
    return "list" if isinstance(given, list | tuple) else "text"


# So that an error names one branch of a union instead of each.
_by_form, _by_form_or_number = Discriminator(_form), Discriminator(_form_or_number)
_by_form_or_list = Discriminator(_form_or_list)


def _pair_of_names(given: Any) -> Any:
    """One error message instead of one per branch of the union."""
    if isinstance(given, list | tuple):
        given = tuple(given)
        if len(given) == 2 and all(isinstance(name, str) for name in given):
            return given
    elif given is None or given == "auto":
        return given
    raise ValueError("must be a list of two column names, 'auto' or null")


class Features(SpecModel):
    """Which columns the network sees, and with which kind."""

    include: list[str] | None = Field(
        default=None,
        min_length=1,
        description="The only columns to use. A resolved spec excludes the others instead.",
    )
    exclude: list[str] = Field(
        default_factory=list, description="Columns to leave out, besides the target."
    )
    kinds: dict[str, Literal["numeric", "categorical"]] = Field(
        default_factory=dict,
        description="Overrides the profile's kinds, for example of a class code that is a number.",
    )
    coordinates: Annotated[
        Literal["auto"] | tuple[str, str] | None, BeforeValidator(_pair_of_names)
    ] = Field(
        default="auto",
        description="Two numeric columns that locate a row, such as latitude and longitude: "
        "distances along turned axes are added to them. `auto` finds them by their names.",
    )
    comparables: (
        Annotated[
            Annotated[Literal["auto"], Tag("text")] | Annotated[list[Comparables], Tag("list")],
            _by_form_or_list,
        ]
        | None
    ) = Field(
        default="auto",
        description="Inputs from a row's nearest training rows, such as their mean target: nearest "
        "by `location`, for which coordinates are needed, or by `attributes`, in which a column "
        "counts as much as it contributes to a ridge regression. A training row never sees its own "
        "target. `auto`: those that explain what the ridge regression leaves, unless the spec "
        "names its architecture.",
    )
    group_means: (
        Annotated[
            Annotated[Literal["auto"], Tag("text")] | Annotated[list[str], Tag("list")],
            _by_form_or_list,
        ]
        | None
    ) = Field(
        default="auto",
        description="Columns whose levels' mean targets are inputs; a training row never sees its "
        "own target. `auto`: columns of 8 or more levels, and of whole numbers with few values, "
        "unless the spec names its architecture.",
    )

    @model_validator(mode="after")
    def _one_list(self) -> Features:
        if self.include is not None and self.exclude:
            raise ValueError("'include' and 'exclude' contradict each other: give only one of them")
        return self


class Preprocessing(SpecModel):
    """How a fold turns cells into inputs. Everything is learnt from the fold's training rows."""

    numeric_missing: Literal["mean", "median", "zero", "drop_rows"] = Field(
        default="mean",
        description="What replaces a missing number. `drop_rows` removes such rows from training; "
        "in a scored or served row the mean replaces it.",
    )
    numeric_scaling: Literal["standard", "robust", "quantile", "none"] = Field(
        default="robust",
        description="`standard`: (x − mean) / standard deviation. `robust`: (x − median) / "
        "interquartile range, smoothly clipped to ±3. In a column that is mostly one value, the "
        "typical distance of the others replaces the range, and a number more than ten such "
        "distances away is moved to the farthest one within. `quantile`: the rank among the "
        "training rows, uniform "
        "with unit variance.",
    )
    categorical_missing: Literal["level"] = Field(
        default="level", description="A missing category is a level of its own."
    )
    target_transform: TargetTransform | None = Field(
        default=None,
        description="Of a number. `log` trains on log(y); both are standardised by the fold's "
        "training rows. Default: `log` if every target is positive and their skewness exceeds 1.",
    )
    retransform: Literal["median", "mean"] = Field(
        default="median",
        description="What is predicted if the target is learnt as its logarithm. `median`: about "
        "half of the truths are higher, and totals come out low. `mean`: they are multiplied "
        "so that totals come out right (smearing of Duan 1983, from the residuals of other folds). "
        "With `none` both predict the mean.",
    )


class Folds(SpecModel):
    """How rows are assigned to folds."""

    type: Literal["shuffled", "stratified", "group", "time"] = Field(
        default="shuffled",
        description="`stratified`: quantile bins of the target, or its classes, are spread evenly; "
        "the default for classes. `group`: rows "
        "that share a value of `column` stay together. `time`: rows are sorted by `column`, and "
        "each fold is scored by a model that saw only earlier rows. Rows of the same time stay "
        "together.",
    )
    column: str | None = Field(default=None, description="Required for `group` and `time`.")

    @model_validator(mode="after")
    def _column_fits_type(self) -> Folds:
        needs_column = self.type in ("group", "time")
        if needs_column and self.column is None:
            raise ValueError(f"folds of type '{self.type}' need a column")
        if not needs_column and self.column is not None:
            raise ValueError(f"folds of type '{self.type}' take no column")
        return self


class Optimizer(SpecModel):
    """Weight decay is decoupled for every optimiser (Loshchilov and Hutter 2019, arXiv 1711.05101),
    so `adam` and `adamw` are the same update."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0, le=1e6)
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Used only by `sgd`.")
    schedule: Schedule = Field(
        default="constant", description="How the learning rate changes up to max_epochs."
    )
    gradient_clip: float | None = Field(
        default=None, gt=0, description="Largest L2 norm of one fold model's gradient."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_names(cls, data: Any) -> Any:
        return rename(data, {"lr": "learning_rate"})


class EarlyStopping(SpecModel):
    """Watches a slice of the fold's training rows, never the scored rows."""

    patience: int = Field(default=16, ge=1, le=10_000, description="Epochs without improvement.")
    fraction: float = Field(default=0.1, gt=0, lt=0.5, description="Share of the training rows.")


class Holdout(SpecModel):
    """Rows that no fold sees, scored once by the finished model."""

    fraction: float = Field(default=0.1, gt=0, lt=0.5)


class Costs(SpecModel):
    """What each kind of wrong decision costs, in any unit."""

    false_positive: float = Field(gt=0, le=1e9)
    false_negative: float = Field(gt=0, le=1e9)


class Decision(SpecModel):
    """How a model decides between two classes."""

    positive: str | None = Field(
        default=None,
        min_length=1,
        description="The class that is decided for if its probability reaches the threshold. "
        "Default: of 0 and 1, no and yes, false and true the second, otherwise the rarer class.",
    )
    threshold: Annotated[
        Annotated[float, Field(gt=0, lt=1), Tag("number")]
        | Annotated[Literal["accuracy", "balanced_accuracy", "f1", "mcc"], Tag("text")]
        | Annotated[Costs, Tag("object")],
        _by_form_or_number,
    ] = Field(
        default=0.5,
        description="A probability; or the metric that it should make best, or the costs that it "
        "should make lowest, on out-of-fold predictions. Each fold's rows are scored with the "
        "threshold of the other folds.",
    )


class MemberSettings(SpecModel):
    """An architecture and how it is trained."""

    architecture: Architecture = Field(
        default_factory=MlpArchitecture,
        description="If a spec names neither this nor `members`, a recipe is used that was chosen "
        "by measurement and depends on `effort`, the task and the number of rows. Settings in the "
        "spec take precedence.",
    )
    dropout: float = Field(default=0.3, ge=0, description="Probability of zeroing a hidden unit.")
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="Decoupled: each step reduces every weight, except biases, by a share "
        "learning_rate × weight_decay. Over a few thousand steps at 1e-3, values from 0.1 matter.",
    )
    optimizer: Optimizer = Field(default_factory=Optimizer)
    batch_size: int = Field(default=64, ge=1, le=65_536)
    max_epochs: int = Field(default=100, ge=1, le=10_000)
    early_stopping: EarlyStopping | None = Field(default_factory=EarlyStopping)
    precision: Precision = Field(
        default="float32",
        description="Of the products in a training step. Weights, losses and the optimiser stay in "
        "float32, and so do predictions (mixed precision, Micikevicius et al. 2018, arXiv "
        "1710.03740). `tf32`: a GPU may round their factors to ten bits of mantissa; a CPU does "
        "not. Sixteen bits save time and memory on a GPU; on a CPU they take longer.",
    )
    members_per_fold: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Networks with different seeds that are averaged in each fold.",
    )
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
                "is zeroed and nothing can be learned"
            )
        return dropout


class TrainingSpec(MemberSettings):
    """Everything that determines a training run, except the table."""

    target: str = Field(min_length=1, max_length=255, description="The column to predict.")
    task: Task = Field(
        default="auto",
        description="`regression` predicts a number, `classification` one of 2 to 1,000 classes. "
        "`auto`: classes for words, booleans and 0/1, otherwise a number.",
    )
    features: Features = Field(default_factory=Features)
    preprocessing: Preprocessing = Field(default_factory=Preprocessing)
    k_folds: int = Field(default=5, ge=2, le=50)
    folds: Folds = Field(default_factory=Folds)
    holdout: Holdout | None = None
    loss: Loss | None = Field(
        default=None,
        description="For a number `squared_error` (default), `absolute_error`, `huber`; for "
        "classes `cross_entropy` (default), `hinge` (max(0, 1 − margin)) and `perceptron` "
        "(max(0, −margin)). A margin is the output of the true class minus the largest other one "
        "(Crammer and Singer 2001).",
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=0.5,
        description="Of `cross_entropy`: the share of a row's weight that is spread over all "
        "classes. Can help accuracy and harms `roc_auc`.",
    )
    class_weights: (
        Annotated[
            Annotated[Literal["balanced"], Tag("text")]
            | Annotated[dict[str, ClassWeight], Tag("object")],
            _by_form,
        ]
        | None
    ) = Field(
        default=None,
        description="Weights of the rows in the loss, by class; other classes have 1. `balanced`: "
        "inversely proportional to the class's share of a fold's training rows. The "
        "probabilities then follow the weights, not the classes' frequencies.",
    )
    rare_classes: Literal["refuse", "merge"] = Field(
        default="refuse",
        description="Classes with fewer rows than folds. `merge` makes them one class, `(other)`.",
    )
    decision: Decision = Field(
        default_factory=Decision, description="Applies to targets of two classes."
    )
    baselines: list[Baseline] = Field(
        default=["mean", "ridge", "boosting"],
        description="Simple models that learn from the same folds, to compare with: the mean, "
        "ridge regression, scikit-learn's histogram gradient boosting; for classes the majority, "
        "logistic regression and boosting. `[]`: none.",
    )
    effort: Effort = Field(
        default="standard",
        description="What the recipe may cost, if the spec names neither `architecture` nor "
        "`members`. `quick`: one network. `standard`: a blend, about three minutes of two cores "
        "with 20,000 rows. `thorough`: a blend of more members and epochs.",
    )
    members: list[MemberSettings] | None = Field(
        default=None,
        min_length=2,
        max_length=16,
        description="A blend: architectures that train on the same folds and are added up with "
        "weights. What a member leaves out, it has from the spec.",
    )
    weights: Literal["nnls", "mean"] = Field(
        default="nnls",
        description="Of the members of a blend. `nnls`: those that are not negative and have the "
        "least error out of fold; each fold's are learnt from the other folds' rows. `mean`: equal "
        "ones.",
    )
    learning_curve: bool = Field(
        default=False,
        description="Train also on an eighth, a quarter and a half of each fold's training rows, "
        "and report what twice the rows would bring. Takes about twice as long.",
    )
    initialize_from: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="A model's id or an alias: networks start from its weights instead of random "
        "ones, fold by fold. Settings that the spec leaves out are those of the model's own spec. "
        "A resolved spec has the id.",
    )
    freeze: list[Annotated[str, Field(max_length=64)]] = Field(
        default_factory=list,
        max_length=64,
        description="Layers whose weights stay as they begin, by the names in a job's metrics: "
        "`hidden.0`, `output`. Of a blend, in each of its networks.",
    )

    def trials(self) -> list[TrainingSpec]:
        """The specs that it trains: itself, or one for each member of a blend."""
        if self.members is None:
            # Only blends leave these open. A spec that an earlier version resolved had neither.
            is_open = "auto" in (self.features.comparables, self.features.group_means)
            closed = self.features.model_copy(update={"comparables": None, "group_means": None})
            return [self.model_copy(update={"features": closed}) if is_open else self]
        return [
            self.model_copy(
                update={"members": None}
                | {name: getattr(member, name) for name in member.model_fields_set}
            )
            for member in self.members
        ]

    @property
    def watched_fraction(self) -> float | None:
        """The share of a fold's training rows that early stopping watches; None: it watches none.
        Members of a blend that watch rows watch the same ones."""
        networks = [trial for trial in self.trials() if not trial.architecture.is_fitted]
        stopping = [trial.early_stopping for trial in networks]
        return next((own.fraction for own in stopping if own is not None), None)


def _with_rate(spec: dict[str, Any]) -> dict[str, Any]:
    """`lr` next to `wd` and `k` is the optimiser's learning rate."""
    optimizer = spec.get("optimizer", {})
    if not isinstance(optimizer, dict) or {"lr", "learning_rate"} & optimizer.keys():
        raise ValueError("'lr' is short for 'optimizer.learning_rate': give one of them, not both")
    kept = {name: value for name, value in spec.items() if name != "lr"}
    return {**kept, "optimizer": {**optimizer, "learning_rate": spec["lr"]}}
