"""The objective of predicting a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from models.objectives.base import Codes, Guide, Objective, TargetColumn, Vector, Yardstick
from models.objectives.metrics import OfMeans
from models.objectives.regression.answers import VALUE, RegressionAnswers, RegressionModel
from models.objectives.regression.metrics import METRICS
from models.objectives.regression.words import told
from models.spec import Decision, TargetTransform, TrainingSpec
from models.tables.arrays import as_numbers
from models.tables.profile import ColumnProfile
from models.tables.wording import number_text

# A target whose skewness is above this trains better as its logarithm.
LOG_SKEWNESS = 1.0
# A target of so few whole numbers may be codes of classes.
FEW_VALUES = 20
# Squares of larger targets, summed over the rows, overflow float64.
LARGEST_TARGET = 1e150
# Squares of smaller ones vanish, so any prediction would seem perfect.
SMALLEST_TARGET = 1e-150


class Regression(Objective):
    """One output: the standardised target, or its logarithm."""

    metrics = METRICS
    headline = ("rmsle", "rmse")  # rmsle needs positive values
    losses = ("squared_error", "absolute_error", "huber")
    output = VALUE
    standalone = ("models.objectives.regression.standalone", "models.objectives.conformal")
    guide = Guide(
        example="houses.csv > prices.csv",
        each="an interval that contains 90 % of the true values",
        answers="predictions and intervals",
        outputs="value [N] and members [K, N], on the scale of the target.",
        kept="the scores from which intervals are computed",
        modules={"conformal.py": "Finds the score that bounds an interval."},
    )

    def faults(self, spec: TrainingSpec, target: ColumnProfile) -> list[tuple[str, str]]:
        found = []
        if fault := self._target_fault(target):
            found.append(("/target", fault))
        elif spec.preprocessing.target_transform == "log" and (target.min or 0) <= 0:
            found.append(
                (
                    "/preprocessing/target_transform",
                    f"'log' needs positive targets, but the smallest '{target.name}' is "
                    f"{number_text(target.min or 0)}: use 'none'",
                )
            )
        if spec.architecture.type == "perceptron":
            found.append(("/architecture/type", "'perceptron' predicts classes: use 'linear'"))
        if spec.architecture.type in ("kernel", "ridge") and spec.loss in (
            "absolute_error",
            "huber",
        ):
            detail = f"'{spec.architecture.type}' minimises the 'squared_error', not '{spec.loss}'"
            found.append(("/loss", detail))
        for_classes = {
            "label_smoothing": spec.label_smoothing > 0,
            "class_weights": spec.class_weights is not None,
            "rare_classes": spec.rare_classes != "refuse",
            "decision": spec.decision != Decision(),
        }
        return found + [
            (f"/{name}", f"applies to classes, and '{target.name}' is predicted as a number")
            for name, is_given in for_classes.items()
            if is_given
        ]

    def _target_fault(self, target: ColumnProfile) -> str | None:
        if target.storage != "number":
            if target.storage == "datetime":
                return f"'{target.name}' holds dates, and regression predicts only numbers"
            return (
                f"'{target.name}' holds words, and regression predicts only numbers; to predict "
                "classes, set task to 'classification'"
            )
        largest = max(abs(target.min or 0), abs(target.max or 0))
        if largest > LARGEST_TARGET:
            return (
                f"'{target.name}' reaches ±{number_text(largest)}, so squares of its errors would "
                f"overflow: use another unit, within ±{number_text(LARGEST_TARGET)}"
            )
        if target.distinct < 2:
            return (
                f"'{target.name}' has {target.distinct} value, so there is nothing to learn: "
                "choose a target that varies"
            )
        if largest < SMALLEST_TARGET:
            return (
                f"'{target.name}' stays within ±{number_text(SMALLEST_TARGET)}, so squares of its "
                "errors would vanish: use another unit"
            )
        return None

    def with_defaults(self, spec: TrainingSpec, target: ColumnProfile) -> TrainingSpec:  # noqa: ARG002
        return spec.model_copy(update={"loss": spec.loss or self.losses[0]})

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

    def read(self, column: pa.ChunkedArray, spec: TrainingSpec) -> TargetColumn:  # noqa: ARG002
        return TargetColumn(as_numbers(column))

    def strata(self, target: Vector, most: int) -> Codes:
        """Quantile bins."""
        edges = np.quantile(target, np.linspace(0, 1, most + 1)[1:-1])
        return np.searchsorted(edges, target)

    def facets(self, target: Vector) -> Vector:
        return target[:, None]

    def remarks(
        self,
        spec: TrainingSpec,
        target: ColumnProfile,
        column: pa.ChunkedArray,
    ) -> list[tuple[str, str]]:
        values = as_numbers(column)
        if 2 < target.distinct <= FEW_VALUES and not (values[~np.isnan(values)] % 1).any():
            return [
                (
                    "target_could_be_classes",
                    f"'{spec.target}' has only {target.distinct} whole numbers. It is predicted as "
                    "a number; if these are codes of classes, set task to 'classification'",
                )
            ]
        return []

    def reweighed(
        self,
        metric: str,
        actual: Vector,
        values: Vector,
        predicted: Codes | None = None,  # noqa: ARG002
        positive: int | None = None,  # noqa: ARG002
    ) -> OfMeans | None:
        with np.errstate(over="ignore"):
            terms = METRICS[metric].terms(actual, values)
        return None if terms is None else OfMeans(terms, METRICS[metric].value)

    def answering(self, manifest: Any) -> RegressionAnswers:
        return RegressionAnswers(RegressionModel.of(manifest))

    def shown(self, manifest: Any) -> dict[str, Any]:
        return {"intervals": RegressionModel.of(manifest).intervals}

    def told(self, target: str, result: Mapping[str, Any]) -> list[str]:
        return told(target, result)

    def yardstick(self, challenger: Any, champion: Any) -> Yardstick:
        """The error that both models were trained to reduce.

        `mae` if both have the loss `absolute_error`, otherwise `rmse`; of the logarithms if both
        have the target transform `log`, otherwise on the target's own scale.
        """
        pair = [RegressionModel.of(manifest) for manifest in (challenger, champion)]
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
