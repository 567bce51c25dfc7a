"""Scores a trained model out of fold, and once on the holdout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import Tensor

from models.data.design import Design
from models.data.folds import FoldRows
from models.evaluation.baselines import Comparison, compare
from models.evaluation.diagnosis import Finding, diagnose
from models.evaluation.diagnosis.collect import collect
from models.evaluation.importance import permutation_importance
from models.evaluation.perceptron import perceptron_report
from models.export.served import ServedModel, predict, raw_outputs
from models.objectives import objective_of
from models.objectives.base import Outputs
from models.objectives.learning import Assessment, Scored
from models.objectives.metrics import Metrics, Units, mean_and_deviation, units
from models.objectives.trained import learning_of
from models.spec import TrainingSpec
from models.training.engine import TrainedPopulation
from models.training.progress import Course

Json = dict[str, Any]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class OutOfFold:
    """Predictions (n, …) of the design's rows by models that did not see them, NaN for a row that
    no fold scored, and members (m, n, …) of the row's own fold, with their spread (n,).

    fold : (n,) the place of the fold that scored a row among the served ones, −1 for none
    """

    prediction: Vector
    members: Vector
    fold: NDArray[np.int64]
    spread: Vector | None

    @classmethod
    def of(
        cls,
        served: ServedModel,
        design: Design,
        folds: Sequence[FoldRows],
        outputs: Sequence[tuple[Tensor, Vector | None]],
    ) -> OutOfFold:
        """`outputs`: of each served fold, the raw ones of its members (m, n, …), and the spread."""
        fold_of = np.full(len(design), -1)
        value = members = np.empty(0)
        spread = np.full(len(design), np.nan) if served.has_spread else None
        for place, number in enumerate(served.folds):
            rows = folds[number].validation
            raw, own_spread = outputs[place]
            each = served.target.restore(raw, served.own(place)).numpy()
            own = each.mean(0)
            if place == 0:
                value = np.full((len(design), *own.shape[1:]), np.nan)
                members = np.full((len(each), len(design), *own.shape[1:]), np.nan)
            value[rows], members[:, rows], fold_of[rows] = own, each, place
            if spread is not None:
                spread[rows] = own_spread
        return cls(value, members, fold_of, spread)


@dataclass(frozen=True)
class Scores:
    """The scores of a model.

    out_of_fold : (n, …) predictions of the rows of the design, NaN for a row that no fold scored
    fold_of : (n,) the fold that scored a row, −1 for none
    units : of the scored rows, what errs independently
    rows : (n,) their indices in the table
    """

    out_of_fold: Vector
    fold_of: NDArray[np.int64]
    units: Units
    rows: NDArray[np.int64]
    assessment: Assessment
    folds: list[dict[str, Any]]
    holdout: dict[str, Any] | None
    importance: list[dict[str, Any]]
    diagnosis: list[Finding]
    comparison: Comparison
    perceptron: list[Json] | None

    def result(self) -> dict[str, Any]:
        """The part of a job's result with the model's scores."""
        means, deviations = mean_and_deviation(
            [fold["metrics"] for fold in self.folds if fold["fold"] in self.fold_of]
        )
        return {
            "metrics": self.assessment.metrics,
            "metrics_error": self.assessment.metrics_error,
            "folds": self.folds,
            "fold_mean": means,
            "fold_std": deviations,
            "holdout": self.holdout,
            **self.assessment.result,
            **({} if self.perceptron is None else {"perceptron": self.perceptron}),
            "baselines": self.comparison.result(),
            "comparison": self.comparison.sentence(),
            "diagnosis": self.diagnosis,
        }

    def write_out_of_fold(self, path: Path) -> None:
        """Write a Parquet file with row (from 0), fold, unit and the objective's columns, in row
        order."""
        scored = np.flatnonzero(self.fold_of >= 0)
        table = pa.table(
            {
                "row": self.rows[scored],
                "fold": self.fold_of[scored],
                "unit": self.units,
                **self.assessment.columns,
            }
        )
        pq.write_table(table, path)


def refine(
    served: ServedModel, spec: TrainingSpec, design: Design, folds: Sequence[FoldRows]
) -> OutOfFold:
    """Let the objective learn from the out-of-fold outputs, then predict."""
    rows = [folds[number].validation for number in served.folds]
    outputs = [
        raw_outputs(served.fold(place), design.numbers[own], design.codes[own])
        for place, own in enumerate(rows)
    ]
    scored = [(design.target[own], found) for own, (found, _) in zip(rows, outputs, strict=True)]
    learning_of(spec).refine(served.target, scored, spec)
    return OutOfFold.of(served, design, folds, outputs)


@dataclass(frozen=True)
class OutOfFoldScores:
    """Predictions of models that did not see the rows, and how good they are."""

    out_of_fold: OutOfFold
    units: Units
    assessment: Assessment
    folds: list[dict[str, Any]]


def score(
    served: ServedModel,
    spec: TrainingSpec,
    design: Design,
    folds: Sequence[FoldRows],
    trained: Sequence[TrainedPopulation],
) -> OutOfFoldScores:
    """Predict every fold's validation rows with its own model."""
    learning = learning_of(spec)
    found = refine(served, spec, design, folds)
    is_scored = found.fold >= 0
    column = None if design.fold_column is None else design.fold_column[is_scored]
    on_their_own = units(spec, column, int(is_scored.sum()))
    assessment = learning.assess(
        Scored(
            spec,
            served.target,
            design.levels,
            design.target[is_scored],
            Outputs(
                found.prediction[is_scored],
                found.members[:, is_scored],
                design.numbers[is_scored],
                design.codes[is_scored],
                None if found.spread is None else found.spread[is_scored],
            ),
            found.fold[is_scored],
            column,
            on_their_own,
        )
    )
    # R² uses the variance of all folds' truths, because a fold's own may hardly vary.
    truths = design.target[np.concatenate([fold.validation for fold in folds])]
    summaries = []
    for number, fold in enumerate(folds):
        own = [course for population in trained for course in population.own_courses(number)]
        metrics: Metrics = dict.fromkeys(objective_of(spec).metrics)
        if number in served.folds:
            rows = fold.validation
            target = served.fold(served.folds.index(number)).target
            metrics = learning.fold_metrics(
                target, design.target[rows], found.prediction[rows], truths
            )
        summaries.append(_summary(number, fold, own, metrics))
    return OutOfFoldScores(found, on_their_own, assessment, summaries)


def evaluate(
    served: ServedModel,
    spec: TrainingSpec,
    design: Design,
    folds: list[FoldRows],
    holdout: Design,
    trained: Sequence[TrainedPopulation],
) -> Scores:
    """Predict every fold's validation rows with its own model, and the holdout with all models.

    A fold without a model has no metrics, and its rows have no prediction.
    """
    scored = score(served, spec, design, folds, trained)
    found = scored.out_of_fold
    own_rows = [folds[number] for number in served.folds]
    comparison = compare(served, spec, design, own_rows, found.prediction)
    return Scores(
        out_of_fold=found.prediction,
        fold_of=np.array([*served.folds, -1])[found.fold],
        units=scored.units,
        rows=design.rows,
        assessment=scored.assessment,
        folds=scored.folds,
        holdout=_score_holdout(served, spec, holdout, scored.assessment),
        importance=permutation_importance(
            served, spec, design, [fold.validation for fold in own_rows]
        ),
        comparison=comparison,
        perceptron=perceptron_report(served, spec, design, own_rows, trained[0].courses)
        if spec.architecture.type == "perceptron"
        else None,
        diagnosis=diagnose(
            collect(served, spec, design, folds, trained, found.prediction, comparison)
        ),
    )


def _summary(number: int, fold: FoldRows, courses: list[Course], metrics: Metrics) -> Json:
    """A summary of a fold's members and their training."""
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
    """Why a fold stopped: trouble if any member had it, otherwise the most frequent reason."""
    if "non_finite" in members:
        return "non_finite"
    return Counter(members).most_common(1)[0][0]


def _score_holdout(
    served: ServedModel, spec: TrainingSpec, holdout: Design, assessment: Assessment
) -> dict[str, Any] | None:
    if len(holdout) == 0:
        return None
    outputs = predict(served, holdout.numbers, holdout.codes)
    scored = Scored(
        spec,
        served.target,
        holdout.levels,
        holdout.target,
        replace(outputs, members=outputs.members[served.first_served :]),
        np.full(len(holdout), -1),
        holdout.fold_column,
        units(spec, holdout.fold_column, len(holdout)),
    )
    return {"rows": len(holdout), **learning_of(spec).assess_holdout(assessment, scored)}
