"""The interface of an objective, except what needs torch.

An `Objective` decides which targets it accepts, what a model's answers look like and how two models
are compared. `models.objectives.learning` has the other half, which trains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.figures import deviation, number
from models.objectives import conformal
from models.objectives.metrics import Metric, OfMeans, OfRows
from models.spec import Loss, TrainingSpec
from models.tables.faults import RowWarning
from models.tables.profile import ColumnProfile

Vector = NDArray[np.float64]
Codes = NDArray[np.int64]
# Coverages that uncertainty is calibrated and measured for.
DEFAULT_COVERAGE = 0.9
LOWEST_COVERAGE, HIGHEST_COVERAGE = conformal.LOWEST_COVERAGE, 0.99
MEASURED = (0.5, 0.8, 0.9, 0.95, 0.99)
# Errors by which models are compared.
Error = Literal["rmse_log", "rmse", "mae_log", "mae", "log_loss"]
# Numbers, texts, lists of texts, or numbers by name.
Cells = Vector | Sequence[str] | Sequence[Sequence[str]] | Sequence[Mapping[str, float]]
OnUnknown = Literal["warn", "error"]


@dataclass(frozen=True)
class Question:
    """The options of a request for predictions.

    coverage : the share of truths that intervals, or sets of classes, should contain
    explain : whether each row is explained; for classes, `explained_class` or the predicted one
    threshold : of two classes, from which probability the positive one is predicted; None: the
        model's own
    classes : those whose probabilities an answer lists, `ALL_CLASSES` for all. If there are none,
        JSON lists those of a row's set if the model has many, and a CSV only the predicted one's.
    by_class : whether a set contains the truth with probability `coverage` for each class, instead
        of over all classes
    comparables : how many training rows like each row are listed
    """

    coverage: float = DEFAULT_COVERAGE
    on_unknown: OnUnknown = "warn"
    explain: bool = False
    explained_class: str | None = None
    threshold: float | None = None
    classes: tuple[str, ...] = ()
    by_class: bool = False
    comparables: int = 0


PLAIN = Question()
ALL_CLASSES = "*"


class Unanswerable(ValueError):
    """The model has no such answers. `option`: the name of the option in the question."""

    def __init__(self, option: str, detail: str) -> None:
        super().__init__(detail)
        self.option = option


@dataclass(frozen=True)
class Column:
    """One column of a model's answers. Every protocol writes these columns, in order.

    name : in a CSV
    path : its place in a row's JSON object; empty: it is not in it
    tensor : its name if answers are tensors; None: it is not in them. Columns that share a tensor
        are side by side in it.
    is_text : whether its cells are texts or lists of texts; otherwise numbers, NaN for none
    written : a cell as one text, for a CSV or a tensor; None: it is one already, or a number
    in_csv : whether a CSV can have it
    is_default : whether a CSV has it unless the request names columns
    is_default_tensor : whether an answer of tensors has it unless the request names outputs
    """

    name: str
    path: tuple[str, ...]
    tensor: str | None = None
    is_text: bool = False
    written: Callable[[Any], str] | None = None
    in_csv: bool = True
    is_default: bool = True
    is_default_tensor: bool = True


@dataclass(frozen=True)
class TargetColumn:
    """The target of n rows.

    values : (n,) as numbers, NaN where it is missing: a class is its index in `levels`
    levels : the classes; empty for a number
    """

    values: Vector
    levels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outputs:
    """A model's outputs for N rows.

    values : (N, …) the members' joint predictions
    members : (K, N, …); (0, N, …) if `Answering.needs_members` is false
    numbers, codes : (N, D) and (N, C), the rows themselves
    spread : (N,) how far the parts of a blend are from each other (`Target.spread`); None without
    """

    values: Vector
    members: Vector
    numbers: Vector
    codes: Codes
    spread: Vector | None = None

    def rows(self, part: slice) -> Outputs:
        """Those of some rows."""
        spread = None if self.spread is None else self.spread[part]
        return Outputs(
            self.values[part], self.members[:, part], self.numbers[part], self.codes[part], spread
        )


@dataclass(frozen=True)
class Answer:
    """Cells (N,) by column name, and what is odd about single rows and about all rows.

    bins : (N,) the bin of each prediction among `Answering.shares`, whatever the request changes
    """

    cells: Mapping[str, Cells]
    odd: Sequence[tuple[int, RowWarning]] = ()
    about_all: list[RowWarning] = field(default_factory=list)
    bins: Codes | None = None


class Answering(ABC):
    """Turns one model's outputs into answers.

    needs_members : whether an answer depends on the single members' predictions
    methods : the tensor with which each method of a scikit-learn estimator would answer; the first
        method is the usual one
    shares : of the out-of-fold predictions by their bin; empty if predictions are not counted
    """

    needs_members: ClassVar[bool] = True
    methods: ClassVar[Mapping[str, str]]
    columns: tuple[Column, ...]
    shares: Sequence[float] = ()

    def usual(self, question: Question) -> list[Column]:  # noqa: ARG002
        """The columns of a CSV unless the request names columns."""
        return [column for column in self.columns if column.in_csv and column.is_default]

    def check(self, question: Question) -> None:
        """Raise Unanswerable for options that do not apply."""
        for option in ("threshold", "classes", "by_class", "explained_class"):
            if getattr(question, option) != getattr(PLAIN, option):
                raise Unanswerable(option, "applies only to models that predict classes")

    @abstractmethod
    def answer(self, outputs: Outputs, question: Question) -> Answer:
        """The answer for rows to predict."""

    def explained(
        self,
        values: Vector,  # noqa: ARG002
        question: Question,  # noqa: ARG002
    ) -> tuple[str | None, Callable[[Vector], Vector]]:
        """What is explained of a row with values (1, …): a class, or None for the number itself,
        and the function from values (N, …) to the (N,) that the contributions add up to."""
        return None, lambda values: values


@dataclass(frozen=True)
class Yardstick:
    """The error by which two models of one table are compared.

    rows : from a table of out-of-fold predictions to the terms (n,) to average
    value : from the mean of the terms to the error
    """

    name: Error
    rows: Callable[[pa.Table], Vector]
    value: Callable[[Vector], Vector]


@dataclass(frozen=True)
class Guide:
    """What the README of an exported model says of its predictions, in phrases.

    example : the arguments of predict.py
    each : what each predicted row comes with
    answers : what the model's outputs become
    outputs : those of model.onnx
    kept : what the manifest keeps for the answers
    modules : what further modules do, by file name
    """

    example: str
    each: str
    answers: str
    outputs: str
    kept: str
    modules: Mapping[str, str] = field(default_factory=dict)


class Objective(ABC):
    """A kind of target and its answers, such as a number with an interval.

    metrics : by name
    headline : the metrics to show if there is room for one: the first that a job has
    losses : those that can be trained, the default first
    checks_cells : whether `faults_of_cells` can find any
    output : the name of the predictions in the exported graphs
    standalone : the modules that write the answers of an exported folder, `answer` in the first
    guide : to an exported folder
    compared : columns of the table of out-of-fold predictions that only `yardstick` needs
    """

    metrics: ClassVar[Mapping[str, Metric]]
    headline: ClassVar[tuple[str, ...]]
    losses: ClassVar[tuple[Loss, ...]]
    checks_cells: ClassVar[bool] = False
    output: ClassVar[str]
    standalone: ClassVar[tuple[str, ...]]
    guide: ClassVar[Guide]
    compared: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def faults(self, spec: TrainingSpec, target: ColumnProfile) -> list[tuple[str, str]]:
        """Why a column with values cannot be this target with this spec: for each reason a JSON
        pointer into the spec, and the detail with what to do."""

    def faults_of_cells(
        self,
        spec: TrainingSpec,  # noqa: ARG002
        column: pa.ChunkedArray,  # noqa: ARG002
    ) -> list[tuple[str, str]]:
        """The same for what only the target's cells show."""
        return []

    @abstractmethod
    def with_defaults(self, spec: TrainingSpec, target: ColumnProfile) -> TrainingSpec:
        """The spec with the settings that depend on the objective and the target's profile."""

    @abstractmethod
    def is_complete(self, spec: TrainingSpec) -> bool:
        """Whether the spec already has all settings that `complete` fills in."""

    @abstractmethod
    def complete(
        self, spec: TrainingSpec, smallest: float | None, skewness: float | None
    ) -> TrainingSpec:
        """The spec with the settings that depend on these statistics of the target."""

    @abstractmethod
    def outputs(self, target: ColumnProfile) -> int:
        """Number of outputs of a network."""

    @abstractmethod
    def read(self, column: pa.ChunkedArray, spec: TrainingSpec) -> TargetColumn:
        """The target; raises ValueError if the rows cannot be divided into folds by it."""

    @abstractmethod
    def strata(self, target: Vector, most: int) -> Codes:
        """(n,) the stratum of each row for `stratified` folds; at most `most` strata of a
        number."""

    @abstractmethod
    def facets(self, target: Vector) -> Vector:
        """(n, A) numbers that vary as the target (n,) does, that which shows most of it first: the
        target itself, or whether a row has a class, for some classes."""

    @abstractmethod
    def remarks(
        self, spec: TrainingSpec, target: ColumnProfile, column: pa.ChunkedArray
    ) -> list[tuple[str, str]]:
        """What a resolved spec probably does not intend, by the cells of its target: codes of
        warnings, and details."""

    def strata_aside(self, target: Vector) -> Codes | None:  # noqa: ARG002
        """(n,) the strata that must be in what is set aside and in what is left; None: rows are
        set aside at random."""
        return None

    @abstractmethod
    def reweighed(
        self,
        metric: str,
        actual: Vector,
        values: Vector,
        predicted: Codes | None = None,
        positive: int | None = None,
    ) -> OfMeans | OfRows | None:
        """The metric of predictions (n, …) against truths (n,), for any weights of the rows; None
        if it is not defined for these numbers.

        `predicted`: the classes (n,), None for the most probable ones. `positive`: the index of
        that class.
        """

    @abstractmethod
    def answering(self, manifest: Any) -> Answering:
        """The answers of the model that this manifest (`models.serving.manifest`) describes."""

    @abstractmethod
    def shown(self, manifest: Any) -> dict[str, Any]:
        """Members of the manifest that the model's page has besides those that all models have."""

    def told(self, target: str, result: Mapping[str, Any]) -> list[str]:  # noqa: ARG002
        """A job's result in sentences, the most important one first."""
        name = next(name for name in self.headline if result["metrics"].get(name) is not None)
        error = deviation(result["metrics_error"].get(name))
        return [f"For rows it has not seen, {name} is {number(result['metrics'][name])}{error}."]

    def unlike(self, challenger: Any, champion: Any) -> str | None:  # noqa: ARG002
        """Why the errors of the models that these manifests describe cannot be compared; None:
        they can."""
        return None

    @abstractmethod
    def yardstick(self, challenger: Any, champion: Any) -> Yardstick:
        """The comparison for the models that these manifests describe."""
