"""Trains and scores predictions of a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from models.charts.chart import Chart
from models.objectives.base import DEFAULT_COVERAGE, MEASURED, Vector
from models.objectives.baselines import Baseline
from models.objectives.charted import Charted
from models.objectives.learning import (
    Assessment,
    Learning,
    LinearProblem,
    Scored,
    Target,
)
from models.objectives.losses import RowLoss, loss_of
from models.objectives.metrics import Metrics
from models.objectives.regression.baselines import (
    BoostingBaseline,
    MeanBaseline,
    RidgeBaseline,
)
from models.objectives.regression.calibration import (
    Residuals,
    calibrate,
    cross_intervals,
    measure,
    measured_units,
)
from models.objectives.regression.charts import charts
from models.objectives.regression.intervals import Calibration, spread_within_folds
from models.objectives.regression.metrics import fold_metrics, metric_errors, regression_metrics
from models.objectives.regression.ridge import ridge
from models.objectives.regression.scale import TargetScale
from models.objectives.regression.smearing import smear
from models.spec import TargetTransform, TrainingSpec


class RegressionLearning(Learning):
    measured = "the target's variance"

    def target(
        self,
        training: Sequence[Vector],
        levels: tuple[str, ...],  # noqa: ARG002
        spec: TrainingSpec,
    ) -> TargetScale:
        return TargetScale(training, spec)

    def loss(self, spec: TrainingSpec) -> RowLoss:
        assert spec.loss is not None
        return loss_of(spec.loss)

    def line(self, problem: LinearProblem) -> tuple[Vector, Vector]:
        return ridge(problem)

    def baselines(
        self,
        spec: TrainingSpec,
        levels: tuple[str, ...],  # noqa: ARG002
    ) -> Mapping[str, Baseline]:
        transform = _transform(spec)
        known: dict[str, Baseline] = {
            "mean": MeanBaseline(transform),
            "ridge": RidgeBaseline(transform),
            "boosting": BoostingBaseline(transform),
        }
        return {name: known[name] for name in spec.baselines}

    def refine(
        self,
        target: Target,
        scored: Sequence[tuple[Vector, Tensor]],
        spec: TrainingSpec,
    ) -> None:
        assert isinstance(target, TargetScale)
        if target.smeared:
            smear(target, scored, in_time=spec.folds.type == "time")

    def assess(self, scored: Scored) -> Assessment:
        spec, outputs = scored.spec, scored.outputs
        in_time = spec.folds.type == "time"
        transform = _transform(spec)
        residuals = Residuals(
            scored.actual,
            outputs.values,
            spread_within_folds(outputs, len(outputs.members), transform),
            scored.fold,
            transform,
            scored.column if spec.folds.type == "group" else None,
            of_means=transform == "log" and spec.preprocessing.retransform == "mean",
        )
        calibration = calibrate(residuals, measured_units(residuals, in_time=in_time))
        bounds = cross_intervals(residuals, MEASURED, in_time=in_time)
        intervals = [
            measure(scored.actual, *ends, coverage)
            for coverage, ends in zip(MEASURED, bounds, strict=True)
        ]
        low, high = bounds[MEASURED.index(DEFAULT_COVERAGE)]
        metrics = regression_metrics(scored.actual, outputs.values)
        errors = metric_errors(scored.actual, outputs.values, scored.units)
        return Assessment(
            metrics,
            errors,
            result={"intervals": intervals},
            kept={
                "target_transform": transform,
                "calibration": calibration,
                "intervals": intervals,
            },
            columns={
                "actual": scored.actual,
                "prediction": outputs.values,
                "low": low,
                "high": high,
            },
        )

    def assess_holdout(self, assessment: Assessment, scored: Scored) -> dict[str, Any]:
        transform = _transform(scored.spec)
        actual, value = scored.actual, scored.outputs.values
        calibration: Calibration = assessment.kept["calibration"]
        spread = spread_within_folds(scored.outputs, scored.spec.members_per_fold, transform)
        intervals = [
            calibration.interval(value, spread, calibration.bound(coverage), transform)
            for coverage in MEASURED
        ]
        return {
            "metrics": regression_metrics(actual, value),
            "metrics_error": metric_errors(actual, value, scored.units),
            "intervals": [
                measure(actual, *interval, coverage)
                for coverage, interval in zip(MEASURED, intervals, strict=True)
            ],
        }

    def charts(self, charted: Charted) -> list[Chart]:
        return charts(charted)

    def drawn(
        self,
        values: Vector,
        levels: tuple[str, ...],  # noqa: ARG002
        result: Mapping[str, Any],  # noqa: ARG002
    ) -> dict[str, Vector]:
        return {"prediction": values}

    def fold_metrics(
        self,
        target: Target,  # noqa: ARG002
        actual: Vector,
        predicted: Vector,
        truths: Vector,
    ) -> Metrics:
        return fold_metrics(actual, predicted, float(np.var(truths)))

    def constant_error(self, target: Target, actual: Vector) -> float:
        assert isinstance(target, TargetScale)
        return float(np.var(target.transform(actual)))

    def typical_error(self, means: Vector) -> Vector:
        root: Vector = np.sqrt(means)
        return root

    def kept(self, target: Target) -> dict[str, Any]:
        assert isinstance(target, TargetScale)
        return {"bounds": target.bounds()}


def _transform(spec: TrainingSpec) -> TargetTransform:
    transform = spec.preprocessing.target_transform
    assert transform is not None
    return transform
