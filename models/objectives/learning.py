"""The half of an objective that trains, with torch.

`models.objectives.base` has the other half.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from models.objectives.base import Vector
from models.objectives.losses import RowLoss
from models.objectives.metrics import Metrics, Units
from models.spec import TrainingSpec

# Largest difference, as measured by `Target.apart`, between a graph's prediction and the one that
# was scored. float32 networks differ by 1e-6 to 1e-5.
TOLERANCE = 1e-4


class Target(nn.Module):
    """What F folds learn about the target, each from its own training rows.

    Buffers are (F, …), so that `take` selects some folds, or gives one for each member. `outputs`
    is the number of a network's outputs.
    """

    outputs: int

    def standardize(self, target: Tensor) -> Tensor:
        """(F, N) targets to (F, N), the scale of the loss."""
        raise NotImplementedError

    def restore(self, outputs: Tensor) -> Tensor:
        """(F, N, outputs) of networks to (F, N, …) predictions. The mean of several is served."""
        raise NotImplementedError

    def row_errors(self, actual: Vector, predicted: Vector) -> Vector:
        """(n,) errors of predictions (n, …), of one fold, on the learnt scale."""
        raise NotImplementedError

    def apart(self, found: Vector, expected: Vector) -> Vector:
        """How far predictions of one fold are from others, in units comparable with `TOLERANCE`;
        NaN if one of them is NaN."""
        raise NotImplementedError


@dataclass(frozen=True)
class Scored:
    """n rows with predictions of models that did not see them.

    prediction : (n, …)
    members : (m, n, …) of the members of a row's own fold
    fold : (n,)
    column : (n,) groups or times of `group` and `time` folds
    units : (n,) what errs independently
    """

    spec: TrainingSpec
    actual: Vector
    prediction: Vector
    members: Vector
    fold: NDArray[np.int64]
    column: NDArray[Any] | None
    units: Units


@dataclass(frozen=True)
class Assessment:
    """What an objective reports about scored rows.

    result : members of the job's result
    kept : members of the manifest
    columns : (n,) each, for the table of out-of-fold predictions
    """

    metrics: Metrics
    metrics_error: Metrics
    result: dict[str, Any]
    kept: dict[str, Any]
    columns: dict[str, NDArray[Any]]

    def manifest(self) -> dict[str, Any]:
        return {"metrics": self.metrics, "metrics_error": self.metrics_error, **self.kept}


class Learning(ABC):
    """Targets, losses and scores of an objective."""

    @abstractmethod
    def target(self, training: Sequence[Vector], spec: TrainingSpec) -> Target:
        """Learn from the targets of each fold's training rows."""

    @abstractmethod
    def loss(self, spec: TrainingSpec) -> RowLoss: ...

    @abstractmethod
    def refine(
        self, target: Target, scored: Sequence[tuple[Vector, Vector]], *, in_time: bool
    ) -> bool:
        """Let the folds' targets, one for each member, learn from each fold's truths and
        out-of-fold predictions. True if that changed the predictions."""

    @abstractmethod
    def assess(self, scored: Scored) -> Assessment: ...

    @abstractmethod
    def assess_holdout(
        self,
        assessment: Assessment,
        spec: TrainingSpec,
        actual: Vector,
        value: Vector,
        members: Vector,
        units: Units,
    ) -> dict[str, Any]:
        """The same for rows (n,) that all folds' models predict: value (n, …), and members
        (K, n, …) of those that are served."""

    @abstractmethod
    def fold_metrics(self, actual: Vector, predicted: Vector, truths: Vector) -> Metrics:
        """Metrics of one fold; `truths` are those of all folds."""

    @abstractmethod
    def constant_error(self, target: Target, actual: Vector) -> float:
        """The mean of `row_errors` of the best constant prediction."""

    @abstractmethod
    def typical_error(self, means: Vector) -> Vector:
        """Errors in the reported unit, from means of `row_errors`."""

    @abstractmethod
    def kept(self, target: Target) -> dict[str, Any]:
        """Fields of the manifest with what the served members learnt."""
