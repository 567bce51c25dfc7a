"""An objective that nothing in the product knows: a band between two quantiles of the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.objectives.base import (
    Answer,
    Answering,
    Column,
    Guide,
    Objective,
    Outputs,
    Question,
    TargetColumn,
    Vector,
    Yardstick,
)
from models.objectives.baselines import Baseline, Cells
from models.objectives.learning import (
    ALL,
    Assessment,
    Learning,
    LinearProblem,
    Scored,
    Target,
)
from models.objectives.losses import RowLoss
from models.objectives.metrics import Metric, Metrics, OfMeans, jackknife
from models.objectives.regression.ridge import ridge
from models.spec import TrainingSpec
from models.tables.arrays import as_numbers
from models.tables.profile import ColumnProfile

SHARES = (0.1, 0.9)


class Pinball:
    """Σ max(q·e, (q − 1)·e) with e = y − ŷ, over the quantiles q (Koenker and Bassett 1978)."""

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        error = targets.unsqueeze(-1) - outputs
        shares = outputs.new_tensor(SHARES)
        return torch.maximum(shares * error, (shares - 1) * error).sum(-1)

    def slopes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        above = (outputs > targets.unsqueeze(-1)).to(outputs.dtype)
        return above - outputs.new_tensor(SHARES)


class Scale(Target):
    outputs = len(SHARES)

    def __init__(self, training: Sequence[Vector]) -> None:
        super().__init__()
        for name, values in (("center", map(np.mean, training)), ("scale", map(np.std, training))):
            numbers = torch.tensor([float(value) for value in values], dtype=torch.float64)
            self.register_buffer(name, numbers.unsqueeze(1))

    def standardize(self, target: Tensor) -> Tensor:
        return (target - self.center) / self.scale

    def restore(self, outputs: Tensor, members: slice = ALL) -> Tensor:
        center, scale = (each[members].unsqueeze(2) for each in (self.center, self.scale))
        restored = outputs.double() * scale + center
        return torch.nan_to_num(restored, 0.0)

    def row_errors(self, actual: Vector, predicted: Vector) -> Vector:
        return outside(actual, predicted)

    def apart(self, found: Vector, expected: Vector) -> Vector:
        return np.abs(found - expected) / self.scale[0].item()


def outside(actual: Vector, predicted: Vector) -> Vector:
    """(n,) how far a truth lies outside of its band."""
    below, above = predicted[:, 0] - actual, actual - predicted[:, 1]
    return np.maximum(0, below) + np.maximum(0, above)


METRICS = {"outside": Metric(0.0)}


class BandAnswers(Answering):
    needs_members = False
    methods: ClassVar = {"predict": "band"}
    columns = (
        Column("lower", ("band", "lower"), tensor="band"),
        Column("upper", ("band", "upper"), tensor="band"),
        Column("width", ("width",), tensor="width"),
    )

    def answer(self, outputs: Outputs, question: Question) -> Answer:  # noqa: ARG002
        lower, upper = outputs.values.T
        return Answer({"lower": lower, "upper": upper, "width": upper - lower})

    def explained(
        self,
        values: Vector,  # noqa: ARG002
        question: Question,  # noqa: ARG002
    ) -> tuple[str | None, Callable[[Vector], Vector]]:
        """The middle."""
        return None, lambda values: values.mean(axis=1)


class Band(Objective):
    metrics = METRICS
    headline = ("outside",)
    losses = ("squared_error",)
    output = "band"
    standalone = ("models.objectives.regression.standalone",)
    guide = Guide("rows.csv", "a band", "bands", "band [N, 2]", "nothing")

    def faults(self, spec: TrainingSpec, target: ColumnProfile) -> list[tuple[str, str]]:  # noqa: ARG002
        return []

    def with_defaults(self, spec: TrainingSpec, target: ColumnProfile) -> TrainingSpec:  # noqa: ARG002
        return spec.model_copy(update={"loss": spec.loss or self.losses[0]})

    def is_complete(self, spec: TrainingSpec) -> bool:  # noqa: ARG002
        return True

    def complete(
        self,
        spec: TrainingSpec,
        smallest: float | None,  # noqa: ARG002
        skewness: float | None,  # noqa: ARG002
    ) -> TrainingSpec:
        return spec

    def outputs(self, target: ColumnProfile) -> int:  # noqa: ARG002
        return len(SHARES)

    def read(self, column: pa.ChunkedArray, spec: TrainingSpec) -> TargetColumn:  # noqa: ARG002
        return TargetColumn(as_numbers(column))

    def strata(self, target: Vector, most: int) -> NDArray[np.int64]:
        return np.argsort(np.argsort(target)) * most // len(target)

    def facets(self, target: Vector) -> Vector:
        return target[:, None]

    def remarks(
        self,
        spec: TrainingSpec,  # noqa: ARG002
        target: ColumnProfile,  # noqa: ARG002
        column: pa.ChunkedArray,  # noqa: ARG002
    ) -> list[tuple[str, str]]:
        return []

    def reweighed(
        self,
        metric: str,  # noqa: ARG002
        actual: Vector,
        values: Vector,
        predicted: NDArray[np.int64] | None = None,  # noqa: ARG002
        positive: int | None = None,  # noqa: ARG002
    ) -> OfMeans:
        terms = outside(actual, values).astype(np.float64)
        return OfMeans(terms[:, None], lambda means: means[..., 0])

    def answering(self, manifest: Any) -> BandAnswers:  # noqa: ARG002
        return BandAnswers()

    def shown(self, manifest: Any) -> dict[str, Any]:
        return {"shares": manifest.model_extra["shares"]}

    def yardstick(self, challenger: Any, champion: Any) -> Yardstick:
        raise NotImplementedError


class Quantiles:
    """The band of all training rows."""

    is_encoded: ClassVar = False

    def predict(self, known: Cells, y: Vector, asked: Cells, seed: int) -> Vector:  # noqa: ARG002
        return np.tile(np.quantile(y, SHARES), (len(asked.numbers), 1))

    def seconds(self, rows: int, columns: int, inputs: int, outputs: int) -> float:  # noqa: ARG002
        return 0.0


class BandLearning(Learning):
    measured = "the target's spread"

    def target(
        self,
        training: Sequence[Vector],
        levels: tuple[str, ...],  # noqa: ARG002
        spec: TrainingSpec,  # noqa: ARG002
    ) -> Scale:
        return Scale(training)

    def loss(self, spec: TrainingSpec) -> RowLoss:  # noqa: ARG002
        return Pinball()

    def line(self, problem: LinearProblem) -> tuple[Vector, Vector]:
        return ridge(problem)

    def baselines(
        self,
        spec: TrainingSpec,
        levels: tuple[str, ...],  # noqa: ARG002
    ) -> Mapping[str, Baseline]:
        return {name: Quantiles() for name in spec.baselines if name == "mean"}

    def refine(
        self,
        target: Target,
        scored: Sequence[tuple[Vector, Tensor]],
        spec: TrainingSpec,
    ) -> None:
        """Nothing is learnt."""

    def assess(self, scored: Scored) -> Assessment:
        errors = outside(scored.actual, scored.outputs.values)
        deviation = jackknife(errors[:, None], lambda means: means[..., 0], scored.units)
        lower, upper = scored.outputs.values.T
        return Assessment(
            {"outside": float(errors.mean())},
            {"outside": deviation},
            result={"inside": float((errors == 0).mean())},
            kept={"shares": SHARES},
            columns={"actual": scored.actual, "lower": lower, "upper": upper},
        )

    def assess_holdout(
        self,
        assessment: Assessment,  # noqa: ARG002
        scored: Scored,
    ) -> dict[str, Any]:
        values = scored.outputs.values
        return {"metrics": self.fold_metrics(scored.target, scored.actual, values, values)}

    def fold_metrics(
        self,
        target: Target,  # noqa: ARG002
        actual: Vector,
        predicted: Vector,
        truths: Vector,  # noqa: ARG002
    ) -> Metrics:
        return {"outside": float(outside(actual, predicted).mean())}

    def constant_error(self, target: Target, actual: Vector) -> float:  # noqa: ARG002
        band = np.tile(np.quantile(actual, SHARES), (len(actual), 1))
        return float(outside(actual, band).mean())

    def typical_error(self, means: Vector) -> Vector:
        return means

    def kept(self, target: Target) -> dict[str, Any]:  # noqa: ARG002
        return {}
