"""Scoring a trained model: out of fold, and once on the holdout."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.data.design import Design
from models.data.folds import FoldRows
from models.evaluation.calibration import (
    MEASURED,
    Residuals,
    calibrate,
    cross_intervals,
    measure,
    measured_units,
)
from models.evaluation.diagnosis import diagnose
from models.evaluation.importance import permutation_importance
from models.export.served import ServedModel, predict
from models.objectives.metrics import (
    REGRESSION,
    Metrics,
    Units,
    fold_metrics,
    mean_and_deviation,
    metric_errors,
    regression_metrics,
    units,
)
from models.serving.intervals import (
    DEFAULT_COVERAGE,
    Calibration,
    spread_within_folds,
    transformed,
)
from models.spec import TargetTransform, TrainingSpec
from models.training.progress import Course

Json = dict[str, Any]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """What a model is worth.

    out_of_fold : (n,) predictions of the rows of the design, NaN for a row that no fold scored
    low, high : (n,) bounds of their intervals of 90 %, by the residuals of other folds
    fold_of : (n,) the fold that scored a row, −1 for none
    units : of the scored rows, what errs on its own
    """

    out_of_fold: Vector
    low: Vector
    high: Vector
    fold_of: NDArray[np.int64]
    units: Units
    actual: Vector
    rows: NDArray[np.int64]
    metrics: Metrics
    metrics_error: Metrics
    folds: list[dict[str, Any]]
    holdout: dict[str, Any] | None
    calibration: Calibration
    intervals: list[dict[str, Any]]
    importance: list[dict[str, Any]]
    diagnosis: list[Any]

    def result(self) -> dict[str, Any]:
        """The part of a job's result that says how good the model is."""
        means, deviations = mean_and_deviation(
            [fold["metrics"] for fold in self.folds if fold["fold"] in self.fold_of]
        )
        return {
            "metrics": self.metrics,
            "metrics_error": self.metrics_error,
            "folds": self.folds,
            "fold_mean": means,
            "fold_std": deviations,
            "holdout": self.holdout,
            "intervals": self.intervals,
            "diagnosis": self.diagnosis,
        }

    def write_out_of_fold(self, path: Path) -> None:
        """Write a Parquet file of row (from 0), fold, unit, actual, prediction, low and high, in
        row order."""
        scored = np.flatnonzero(self.fold_of >= 0)
        table = pa.table(
            {
                "row": self.rows[scored],
                "fold": self.fold_of[scored],
                "unit": self.units,
                "actual": self.actual[scored],
                "prediction": self.out_of_fold[scored],
                "low": self.low[scored],
                "high": self.high[scored],
            }
        )
        pq.write_table(table, path)


def evaluate(
    served: ServedModel,
    spec: TrainingSpec,
    design: Design,
    folds: list[FoldRows],
    holdout: Design,
    courses: list[Course],
) -> Scores:
    """Predict every fold's validation rows with its own model, and the holdout with all of them.

    A fold that has no model has no metrics, and its rows have no prediction.
    """
    transform = spec.preprocessing.target_transform
    assert transform is not None
    out_of_fold, spread = np.full(len(design), np.nan), np.full(len(design), np.nan)
    fold_of = np.full(len(design), -1)
    models = {number: served.fold(place) for place, number in enumerate(served.folds)}
    for number, model in models.items():
        rows = folds[number].validation
        out_of_fold[rows], members = _predict(model, design, rows)
        spread[rows] = spread_within_folds(members, len(members), transform)
        fold_of[rows] = number
    scored = fold_of >= 0
    actual, predicted = design.target[scored], out_of_fold[scored]
    column = None if design.fold_column is None else design.fold_column[scored]
    on_their_own = units(spec, column, len(actual))
    residuals = Residuals(
        actual,
        predicted,
        spread[scored],
        fold_of[scored],
        transform,
        column if spec.folds.type == "group" else None,
        of_means=served.target.smeared,
    )
    in_time = spec.folds.type == "time"
    calibration = calibrate(residuals, measured_units(residuals, in_time=in_time))
    low, high = np.full(len(design), np.nan), np.full(len(design), np.nan)
    intervals = []
    crossed = cross_intervals(residuals, MEASURED, in_time=in_time)
    for coverage, bounds in zip(MEASURED, crossed, strict=True):
        intervals.append(measure(residuals.actual, *bounds, coverage))
        if coverage == DEFAULT_COVERAGE:
            low[scored], high[scored] = bounds
    # R² of a fold is against the variance over all folds: its own may be next to nothing.
    truths = design.target[np.concatenate([fold.validation for fold in folds])]
    summaries = []
    for number, fold in enumerate(folds):
        own = courses[number * served.members_per_fold :][: served.members_per_fold]
        metrics: Metrics = dict.fromkeys(REGRESSION)
        if number in models:
            rows = fold.validation
            metrics = fold_metrics(design.target[rows], out_of_fold[rows], float(np.var(truths)))
        summaries.append(_summary(number, fold, own, metrics))
    explained = partial(
        _explained,
        design=design,
        transform=transform,
        variance=float(np.var(transformed(truths, transform))),
    )
    return Scores(
        out_of_fold=out_of_fold,
        low=low,
        high=high,
        fold_of=fold_of,
        units=on_their_own,
        actual=design.target,
        rows=design.rows,
        metrics=regression_metrics(actual, predicted),
        metrics_error=metric_errors(actual, predicted, on_their_own),
        folds=summaries,
        holdout=_score_holdout(served, spec, holdout, calibration),
        calibration=calibration,
        intervals=intervals,
        importance=permutation_importance(
            served, spec, design, [folds[fold].validation for fold in served.folds]
        ),
        diagnosis=list(
            diagnose(
                train_r2=[explained(m, rows=folds[f].train) for f, m in models.items()],
                validation_r2=[explained(m, rows=folds[f].validation) for f, m in models.items()],
                best_epochs=[summaries[fold]["best_epoch"] for fold in served.folds],
                max_epochs=spec.max_epochs,
                watched=spec.early_stopping is not None,
                courses=courses,
                folds=len(folds),
                parameters=sum(p[0].numel() for p in served.network.parameters()),
                train_rows=min(len(fold.train) for fold in folds),
                scored_rows=min(len(fold.validation) for fold in folds),
            )
        ),
    )


def _summary(number: int, fold: FoldRows, courses: list[Course], metrics: Metrics) -> Json:
    """What a fold's members, and their courses, came to."""
    return {
        "fold": number,
        "rows_train": len(fold.train) + len(fold.watched),
        "rows_validation": len(fold.validation),
        "epochs": max(course.epochs for course in courses),
        "best_epoch": max(course.best_epoch for course in courses),
        "stopped_by": _reason([course.stopped_by for course in courses]),
        "metrics": metrics,
    }


def _reason(members: list[str]) -> str:
    """Why a fold stopped: trouble if one member had it, else what most of them say."""
    if "non_finite" in members:
        return "non_finite"
    return Counter(members).most_common(1)[0][0]


def _predict(served: ServedModel, design: Design, rows: np.ndarray) -> tuple[Vector, Vector]:
    """Value (len(rows),) and members of rows of the design."""
    return predict(served, design.numbers[rows], design.codes[rows])


def _score_holdout(
    served: ServedModel,
    spec: TrainingSpec,
    holdout: Design,
    calibration: Calibration,
) -> dict[str, Any] | None:
    if len(holdout) == 0:
        return None
    transform = spec.preprocessing.target_transform
    assert transform is not None
    actual = holdout.target
    value, members = predict(served, holdout.numbers, holdout.codes)
    spread = spread_within_folds(members[served.first_served :], served.members_per_fold, transform)
    return {
        "rows": len(holdout),
        "metrics": regression_metrics(actual, value),
        "metrics_error": metric_errors(
            actual, value, units(spec, holdout.fold_column, len(holdout))
        ),
        "intervals": [
            measure(actual, *calibration.interval(value, spread, coverage, transform), coverage)
            for coverage in MEASURED
        ],
    }


def _explained(
    member: ServedModel,
    rows: np.ndarray,
    design: Design,
    transform: TargetTransform,
    variance: float,
) -> float:
    """R² of some rows on the scale that is learnt, against a `variance` on that scale; 0 where
    nothing varies."""
    predicted, _ = _predict(member, design, rows)
    median = predicted / member.smearing
    errors = transformed(median, transform) - transformed(design.target[rows], transform)
    return 1 - float(np.mean(errors**2)) / variance if variance > 0 else 0.0
