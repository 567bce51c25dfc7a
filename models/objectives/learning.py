"""The half of an objective that trains, with torch.

`models.objectives.base` has the other half.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx
from numpy.typing import NDArray
from torch import Tensor, nn

from models.charts.chart import Chart
from models.objectives.base import Codes, Outputs, Vector
from models.objectives.baselines import Baseline
from models.objectives.charted import Charted
from models.objectives.losses import RowLoss
from models.objectives.metrics import Metrics, Units
from models.spec import TrainingSpec

# Largest difference, as measured by `Target.apart`, between a graph's prediction and the one that
# was scored. float32 networks differ by 1e-6 to 1e-5.
TOLERANCE = 1e-4


ALL = slice(None)


class Target(nn.Module):
    """What F folds learn about the target, each from its own training rows.

    Buffers are (F, …), so that `take` selects some folds, or gives one for each member. `outputs`
    is the number of a network's outputs. `has_spread`: whether answers need `spread`. `positive`:
    the index of the positive one of two classes.
    """

    outputs: int
    has_spread: bool = False
    positive: int | None = None

    def standardize(self, target: Tensor) -> Tensor:
        """(F, N) targets to (F, N), the scale of the loss."""
        raise NotImplementedError

    def restore(self, outputs: Tensor, members: slice = ALL) -> Tensor:
        """(F, N, outputs) of networks to (F, N, …) predictions. The mean of several is served.

        members : the F of all to which the outputs belong
        """
        raise NotImplementedError

    def rescaling(self, earlier: Mapping[str, Tensor]) -> tuple[Tensor, Tensor] | None:  # noqa: ARG002
        """(F,) factors and shifts that turn raw outputs for another target of F folds, whose
        buffers are given by name, into outputs for this one; None: they are the same."""
        return None

    def row_weights(self, target: Tensor) -> Tensor | None:  # noqa: ARG002
        """(F, N) weights of rows in the loss, by their targets (F, N); None: all weigh the same."""
        return None

    def spread(self, parts: Tensor, weights: Tensor, first: int) -> Tensor:
        """(N,) how far the raw outputs of a blend's parts (F, parts, N, outputs) are from each
        other by their weights (F, parts), the mean over the folds from the `first` one on."""
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

    target : what the served members learnt
    levels : the classes of the target; empty for a number
    outputs : of n rows. Its members are m of a row's own fold, or all served ones for the holdout.
    fold : (n,) the place of a row's fold among the served ones, −1 for the holdout
    column : (n,) groups or times of `group` and `time` folds
    units : (n,) what errs independently
    """

    spec: TrainingSpec
    target: Target
    levels: tuple[str, ...]
    actual: Vector
    outputs: Outputs
    fold: Codes
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


@dataclass(frozen=True)
class LinearProblem:
    """Inputs and standardised targets of a fold's training rows.

    y : (n,)
    x : from a chunk's number to its inputs (c, inputs); `chunks` of them have all n rows
    """

    y: Vector
    inputs: int
    outputs: int
    chunks: int
    x: Callable[[int], Vector]

    def __len__(self) -> int:
        return len(self.y)


class Learning(ABC):
    """Targets, losses and scores of an objective.

    measured : what `constant_error` is the whole of, such as the target's variance
    """

    measured: ClassVar[str]

    @abstractmethod
    def target(
        self, training: Sequence[Vector], levels: tuple[str, ...], spec: TrainingSpec
    ) -> Target:
        """Learn from the targets of each fold's training rows; `levels`: the classes."""

    @abstractmethod
    def loss(self, spec: TrainingSpec) -> RowLoss:
        """The loss that training minimises."""

    def watched_loss(self, spec: TrainingSpec) -> RowLoss:
        """The loss by which early stopping chooses the best epoch, and that is reported of scored
        rows."""
        return self.loss(spec)

    @abstractmethod
    def line(self, problem: LinearProblem) -> tuple[Vector, Vector]:
        """The best linear model, slightly regularised: weights (inputs, outputs) and biases
        (outputs,); zeros if the problem is too large to solve in seconds."""

    @abstractmethod
    def baselines(self, spec: TrainingSpec, levels: tuple[str, ...]) -> Mapping[str, Baseline]:
        """Those that the spec asks for, by the name that a result has for them."""

    @abstractmethod
    def refine(
        self,
        target: Target,
        scored: Sequence[tuple[Vector, Tensor]],
        spec: TrainingSpec,
    ) -> None:
        """Let the folds' targets, one for each member, learn from each fold's truths (n,) and raw
        out-of-fold outputs (m, n, outputs) of its members."""

    def decided(
        self,
        target: Target,  # noqa: ARG002
        predictions: Vector,  # noqa: ARG002
        fold: Codes,  # noqa: ARG002
    ) -> Codes | None:
        """(n,) indices of the classes that predictions (n, …) decide for, each as its own fold
        does; None if a number is predicted. `fold` (n,): its place among the served ones."""
        return None

    @abstractmethod
    def assess(self, scored: Scored) -> Assessment: ...

    @abstractmethod
    def assess_holdout(self, assessment: Assessment, scored: Scored) -> dict[str, Any]:
        """Metrics and the like of rows that all folds' models predict."""

    def charts(self, charted: Charted) -> list[Chart]:  # noqa: ARG002
        """Where predictions err, in the order in which charts are read."""
        return []

    def drawn(
        self,
        values: Vector,  # noqa: ARG002
        levels: tuple[str, ...],  # noqa: ARG002
        result: Mapping[str, Any],  # noqa: ARG002
    ) -> dict[str, Vector]:
        """Numbers (…, N) that stand for predictions (…, N, …) in a drawing, by name: the
        prediction itself, or probabilities of classes."""
        return {}

    @abstractmethod
    def fold_metrics(
        self, target: Target, actual: Vector, predicted: Vector, truths: Vector
    ) -> Metrics:
        """Metrics of one fold with its own `target`; `truths` are those of all folds."""

    @abstractmethod
    def constant_error(self, target: Target, actual: Vector) -> float:
        """The mean of `row_errors` of the best constant prediction."""

    @abstractmethod
    def typical_error(self, means: Vector) -> Vector:
        """Errors in the reported unit, from means of `row_errors`."""

    @abstractmethod
    def kept(self, target: Target) -> dict[str, Any]:
        """Fields of the manifest with what the served members learnt."""

    def finish(self, graph: onnx.ModelProto, kept: dict[str, Any]) -> None:  # noqa: B027
        """Add outputs to `model.onnx` that follow from its predictions; `kept`: fields of the
        manifest."""

    def differ(
        self,
        predictions: Vector,  # noqa: ARG002
        added: Sequence[NDArray[Any]],  # noqa: ARG002
        kept: dict[str, Any],  # noqa: ARG002
    ) -> str | None:
        """What is wrong with the added outputs, given the predictions (N, …); None: nothing."""
        return None
