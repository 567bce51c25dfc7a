"""The objective of predicting a number."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.objectives.base import Objective, Vector, Yardstick
from models.objectives.regression.answers import RegressionAnswers, RegressionModel
from models.objectives.regression.metrics import METRICS
from models.spec import TargetTransform, TrainingSpec
from models.tables.arrays import as_numbers
from models.tables.profile import ColumnProfile
from models.tables.wording import number_text

# A target whose skewness is above this trains better as its logarithm.
LOG_SKEWNESS = 1.0
# Squares of larger targets, summed over the rows, overflow float64.
LARGEST_TARGET = 1e150
# Squares of smaller ones vanish, so any prediction would seem perfect.
SMALLEST_TARGET = 1e-150


class Regression(Objective):
    """One output: the standardised target, or its logarithm."""

    metrics = METRICS
    standalone = "models.objectives.regression.standalone"

    def target_fault(self, spec: TrainingSpec, target: ColumnProfile) -> tuple[str, str] | None:
        if target.storage != "number":
            what = "dates" if target.storage == "datetime" else "words"
            return "/target", f"'{target.name}' holds {what}, and only numbers can be predicted"
        largest = max(abs(target.min or 0), abs(target.max or 0))
        if largest > LARGEST_TARGET:
            return (
                "/target",
                f"'{target.name}' reaches ±{number_text(largest)}, so squares of its errors would "
                f"overflow: use another unit, within ±{number_text(LARGEST_TARGET)}",
            )
        if target.distinct < 2:
            return (
                "/target",
                f"'{target.name}' has {target.distinct} value, so there is nothing to learn: "
                "choose a target that varies",
            )
        if largest < SMALLEST_TARGET:
            return (
                "/target",
                f"'{target.name}' stays within ±{number_text(SMALLEST_TARGET)}, so squares of its "
                "errors would vanish: use another unit",
            )
        if spec.preprocessing.target_transform == "log" and (target.min or 0) <= 0:
            return (
                "/preprocessing/target_transform",
                f"'log' needs positive targets, but the smallest '{target.name}' is "
                f"{number_text(target.min or 0)}: use 'none'",
            )
        return None

    def is_complete(self, spec: TrainingSpec) -> bool:
        return spec.preprocessing.target_transform is not None

    def complete(
        self, spec: TrainingSpec, smallest: float | None, skewness: float | None
    ) -> TrainingSpec:
        if self.is_complete(spec):
            return spec
        chosen = {"target_transform": fitting_transform(smallest, skewness)}
        return spec.model_copy(
            update={"preprocessing": spec.preprocessing.model_copy(update=chosen)}
        )

    def outputs(self, target: ColumnProfile) -> int:  # noqa: ARG002
        return 1

    def read(self, column: pa.ChunkedArray) -> Vector:
        return as_numbers(column)

    def strata(self, target: Vector, most: int) -> NDArray[np.int64]:
        """Quantile bins."""
        edges = np.quantile(target, np.linspace(0, 1, most + 1)[1:-1])
        return np.searchsorted(edges, target)

    def answering(self, manifest: RegressionModel) -> RegressionAnswers:
        return RegressionAnswers(manifest)

    def yardstick(self, challenger: RegressionModel, champion: RegressionModel) -> Yardstick:
        """The error that both models were trained to reduce.

        `mae` if both have the loss `absolute_error`, otherwise `rmse`; of the logarithms if both
        have the target transform `log`, otherwise on the target's own scale.
        """
        pair = (challenger, champion)
        absolute = all(model.spec["loss"] == "absolute_error" for model in pair)
        logs = all(model.target_transform == "log" for model in pair)

        def rows(table: pa.Table) -> Vector:
            truth, prediction = (table[name].to_numpy() for name in ("actual", "prediction"))
            error: Vector = np.log(prediction) - np.log(truth) if logs else prediction - truth
            return np.abs(error) if absolute else error**2

        if absolute:
            return Yardstick("mae_log" if logs else "mae", rows, np.positive)
        return Yardstick("rmse_log" if logs else "rmse", rows, np.sqrt)


def fitting_transform(smallest: float | None, skewness: float | None) -> TargetTransform:
    """The transform with which a target of these statistics trains best."""
    positive = smallest is not None and smallest > 0
    return "log" if positive and (skewness or 0) > LOG_SKEWNESS else "none"
