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

from models.objectives.metrics import Metric
from models.spec import TrainingSpec
from models.tables.faults import RowWarning
from models.tables.profile import ColumnProfile

Vector = NDArray[np.float64]
# Coverages that intervals are calibrated and measured for.
DEFAULT_COVERAGE = 0.9
LOWEST_COVERAGE, HIGHEST_COVERAGE = 0.5, 0.99
# Errors by which models are compared.
Error = Literal["rmse_log", "rmse", "mae_log", "mae"]
Cells = Vector | Sequence[str] | Sequence[Sequence[str]]


@dataclass(frozen=True)
class Column:
    """One column of a model's answers. Every protocol writes these columns, in order.

    name : in a CSV
    path : its place in a row's JSON object
    tensor : its name if answers are tensors; None: it is not in them. Columns that share a tensor
        are side by side in it.
    is_text : whether its cells are texts; otherwise numbers, NaN for none
    is_default : whether a CSV has it unless the request names columns
    """

    name: str
    path: tuple[str, ...]
    tensor: str | None = None
    is_text: bool = False
    is_default: bool = True


@dataclass(frozen=True)
class Answer:
    """Cells (N,) by column name, and what is odd about single rows and about all rows."""

    cells: Mapping[str, Cells]
    odd: Sequence[tuple[int, RowWarning]] = ()
    about_all: list[RowWarning] = field(default_factory=list)


class Answering(ABC):
    """Turns one model's outputs into answers."""

    columns: tuple[Column, ...]

    @abstractmethod
    def answer(self, values: Vector, members: Vector, coverage: float) -> Answer:
        """The answer for rows to predict.

        Parameters
        ----------
        values : (N, …), the members' joint predictions
        members : (K, N, …)
        coverage : the share of truths that intervals should contain
        """

    def explained(self, values: Vector) -> Vector:
        """(N,) the number that the columns' contributions add up to."""
        return values


@dataclass(frozen=True)
class Yardstick:
    """The error by which two models of one table are compared.

    rows : from a table of out-of-fold predictions to the terms (n,) to average
    value : from the mean of the terms to the error
    """

    name: Error
    rows: Callable[[pa.Table], Vector]
    value: Callable[[Vector], Vector]


class Objective(ABC):
    """A kind of target and its answers, such as a number with an interval.

    metrics : by name
    standalone : the module that writes the answers of an exported folder
    """

    metrics: ClassVar[Mapping[str, Metric]]
    standalone: ClassVar[str]

    @abstractmethod
    def target_fault(self, spec: TrainingSpec, target: ColumnProfile) -> tuple[str, str] | None:
        """Why a column with values cannot be this target: a JSON pointer into the spec, and the
        reason with what to do."""

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
    def read(self, column: pa.ChunkedArray) -> Vector:
        """(n,) the target as numbers, NaN where it is missing."""

    @abstractmethod
    def strata(self, target: Vector, most: int) -> NDArray[np.int64]:
        """(n,) the stratum of each row for `stratified` folds; at most `most` strata."""

    @abstractmethod
    def answering(self, manifest: Any) -> Answering:
        """The answers of the model that this manifest (`models.serving.manifest`) describes."""

    @abstractmethod
    def yardstick(self, challenger: Any, champion: Any) -> Yardstick:
        """The comparison for the models that these manifests describe."""
