"""What is predicted: what depends on it and needs no torch.

An `Objective` says which targets it takes, what a model's answers look like and how two models are
compared. `models.objectives.learning` has the other half, which trains.
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
# Shares of the truths that intervals are to hold.
DEFAULT_COVERAGE = 0.9
LOWEST_COVERAGE, HIGHEST_COVERAGE = 0.5, 0.99
# Errors by which models are compared.
Error = Literal["rmse_log", "rmse", "mae_log", "mae"]
Cells = Vector | Sequence[str] | Sequence[Sequence[str]]


@dataclass(frozen=True)
class Column:
    """One column of a model's answers. Every protocol writes its answers from these, in order.

    name : in a CSV
    path : where it stands in a row's JSON object
    tensor : its name where answers are tensors; None: it is none. Columns that share a tensor stand
        in it side by side.
    is_text : else its cells are numbers, NaN where there is none
    is_default : whether a CSV has it unless other columns are asked for
    """

    name: str
    path: tuple[str, ...]
    tensor: str | None = None
    is_text: bool = False
    is_default: bool = True


@dataclass(frozen=True)
class Answer:
    """Cells (N,) by the name of their column, and what is odd: by row, and about all rows."""

    cells: Mapping[str, Cells]
    odd: Sequence[tuple[int, RowWarning]] = ()
    about_all: list[RowWarning] = field(default_factory=list)


class Answering(ABC):
    """Turns one model's numbers into answers."""

    columns: tuple[Column, ...]

    @abstractmethod
    def answer(self, values: Vector, members: Vector, coverage: float) -> Answer:
        """Of rows to predict.

        Parameters
        ----------
        values : (N, …), what the model's members say together
        members : (K, N, …)
        coverage : the share of the truths that intervals are to hold
        """

    def explained(self, values: Vector) -> Vector:
        """(N,) the number that contributions of columns add up to."""
        return values


@dataclass(frozen=True)
class Yardstick:
    """The error by which two models of one table are compared.

    rows : of a table of out-of-fold predictions, the terms (n,) whose mean is taken
    value : of the mean of the terms
    """

    name: Error
    rows: Callable[[pa.Table], Vector]
    value: Callable[[Vector], Vector]


class Objective(ABC):
    """What is predicted.

    metrics : by name
    standalone : the module that writes the answers of an exported folder
    """

    metrics: ClassVar[Mapping[str, Metric]]
    standalone: ClassVar[str]

    @abstractmethod
    def target_fault(self, spec: TrainingSpec, target: ColumnProfile) -> tuple[str, str] | None:
        """Why a column with values cannot be this target: a JSON pointer into the spec, and what to
        do."""

    @abstractmethod
    def is_complete(self, spec: TrainingSpec) -> bool:
        """Whether nothing is left to learn from the target, see `complete`."""

    @abstractmethod
    def complete(
        self, spec: TrainingSpec, smallest: float | None, skewness: float | None
    ) -> TrainingSpec:
        """The spec with what follows from these statistics of the target filled in."""

    @abstractmethod
    def outputs(self, target: ColumnProfile) -> int:
        """How many outputs a network has."""

    @abstractmethod
    def read(self, column: pa.ChunkedArray) -> Vector:
        """(n,) the target as numbers, NaN where it is missing."""

    @abstractmethod
    def strata(self, target: Vector, most: int) -> NDArray[np.int64]:
        """(n,) the stratum of each row for `stratified` folds, `most` of them at the most."""

    @abstractmethod
    def answering(self, manifest: Any) -> Answering:
        """For the model that this manifest (`models.serving.manifest`) describes."""

    @abstractmethod
    def yardstick(self, challenger: Any, champion: Any) -> Yardstick:
        """For the models that these manifests describe."""
