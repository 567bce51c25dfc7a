"""Scoring a trained model: out of fold, and once on the holdout."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from models.data.design import Design
from models.data.folds import FoldRows
from models.data.metrics import REGRESSION_METRICS, mean_and_deviation, regression_metrics
from models.evaluation.calibration import (
    MEASURED,
    Residuals,
    calibrate,
    cross_intervals,
    measure,
)
from models.evaluation.diagnosis import diagnose
from models.evaluation.importance import permutation_importance
from models.serving.intervals import DEFAULT_COVERAGE, Calibration, spread_within_folds
from models.serving.served import ServedModel, predict
from models.spec import TrainingSpec
from models.training.progress import Course

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """What a model is worth.

    out_of_fold : (n,) predictions of the rows of the design, NaN for a row that no fold scored
    low, high : (n,) bounds of their intervals of 90 %, by the residuals of other folds
    fold_of : (n,) the fold that scored a row, −1 for none
    """

    out_of_fold: Vector
    low: Vector
    high: Vector
    fold_of: NDArray[np.int64]
    actual: Vector
    rows: NDArray[np.int64]
    metrics: dict[str, float | None]
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
            "folds": self.folds,
            "fold_mean": means,
            "fold_std": deviations,
            "holdout": self.holdout,
            "intervals": self.intervals,
            "diagnosis": self.diagnosis,
        }

    def write_out_of_fold(self, path: Path) -> None:
        """Write a Parquet file of row (from 0), fold, actual, prediction, low and high, in row
        order."""
        scored = np.flatnonzero(self.fold_of >= 0)
        table = pa.table(
            {
                "row": self.rows[scored],
                "fold": self.fold_of[scored],
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
    holdout: np.ndarray,
    courses: list[Course],
) -> Scores:
    """Predict every fold's validation rows with its own model, and the holdout with all of them.

    A fold that has no model has no metrics, and its rows have no prediction.
    """
    transform = spec.preprocessing.target_transform
    assert transform is not None
    out_of_fold, spread = np.full(len(design), np.nan), np.full(len(design), np.nan)
    fold_of = np.full(len(design), -1)
    summaries: list[dict[str, Any]] = []
    train_r2, validation_r2 = [], []
    for number, fold in enumerate(folds):
        metrics: dict[str, float | None] = dict.fromkeys(REGRESSION_METRICS)
        if number in served.folds:
            member = served.fold(served.folds.index(number))
            predicted, members = _predict(member, design, fold.validation)
            out_of_fold[fold.validation] = predicted
            spread[fold.validation] = spread_within_folds(members, len(members), transform)
            fold_of[fold.validation] = number
            train_r2.append(_explained(member, design, fold.train))
            validation_r2.append(_explained(member, design, fold.validation))
            metrics = regression_metrics(design.target[fold.validation], predicted)
        own = courses[number * served.members_per_fold :][: served.members_per_fold]
        summaries.append(
            {
                "fold": number,
                "rows_train": len(fold.train) + len(fold.watched),
                "rows_validation": len(fold.validation),
                "epochs": max(course.epochs for course in own),
                "best_epoch": max(course.best_epoch for course in own),
                "stopped_by": _reason([course.stopped_by for course in own]),
                "metrics": metrics,
            }
        )
    scored = fold_of >= 0
    by_group = spec.folds.type == "group"
    residuals = Residuals(
        design.target[scored],
        out_of_fold[scored],
        spread[scored],
        fold_of[scored],
        transform,
        design.fold_column[scored] if by_group and design.fold_column is not None else None,
    )
    calibration = calibrate(residuals)
    in_time = spec.folds.type == "time"
    low, high = np.full(len(design), np.nan), np.full(len(design), np.nan)
    intervals = []
    crossed = cross_intervals(residuals, MEASURED, in_time=in_time)
    for coverage, bounds in zip(MEASURED, crossed, strict=True):
        intervals.append(measure(residuals.actual, *bounds, coverage))
        if coverage == DEFAULT_COVERAGE:
            low[scored], high[scored] = bounds
    return Scores(
        out_of_fold=out_of_fold,
        low=low,
        high=high,
        fold_of=fold_of,
        actual=design.target,
        rows=design.rows,
        metrics=regression_metrics(design.target[scored], out_of_fold[scored]),
        folds=summaries,
        holdout=_score_holdout(served, spec, design, holdout, calibration),
        calibration=calibration,
        intervals=intervals,
        importance=permutation_importance(
            served, spec, design, [folds[fold].validation for fold in served.folds]
        ),
        diagnosis=list(
            diagnose(
                train_r2=train_r2,
                validation_r2=validation_r2,
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
    design: Design,
    holdout: np.ndarray,
    calibration: Calibration,
) -> dict[str, Any] | None:
    if len(holdout) == 0:
        return None
    transform = spec.preprocessing.target_transform
    assert transform is not None
    actual = design.target[holdout]
    value, members = _predict(served, design, holdout)
    spread = spread_within_folds(members[served.first_served :], served.members_per_fold, transform)
    return {
        "rows": len(holdout),
        "metrics": regression_metrics(actual, value),
        "intervals": [
            measure(actual, *calibration.interval(value, spread, coverage, transform), coverage)
            for coverage in MEASURED
        ],
    }


def _explained(member: ServedModel, design: Design, rows: np.ndarray) -> float:
    """R² on the scale that the network learnt; 0 where the targets do not vary."""
    actual = member.target.standardize(torch.from_numpy(design.target[rows])).numpy()[0]
    predicted = member.target.standardize(torch.from_numpy(_predict(member, design, rows)[0]))
    residual = float(np.mean((actual - predicted.numpy()[0]) ** 2))
    variance = float(np.var(actual))
    return 1 - residual / variance if variance > 0 else 0.0
