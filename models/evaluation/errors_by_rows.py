"""Errors out of fold by the number of training rows, and what twice the rows would bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.design import Design
from models.data.folds import FoldRows
from models.evaluation.blend import blend
from models.evaluation.learning_curve import COVERAGE, fit
from models.evaluation.scores import refine
from models.export.served import ServedModel
from models.objectives.metrics import jackknife_covariance, units
from models.objectives.trained import learning_of
from models.spec import TrainingSpec
from models.training.engine import TrainedPopulation

Vector = NDArray[np.float64]


def errors_by_rows(
    served: ServedModel,
    prediction: Vector,
    spec: TrainingSpec,
    design: Design,
    layouts: Sequence[Sequence[FoldRows]],
    on_fewer: Sequence[TrainedPopulation],
) -> dict[str, Any]:
    """The points, the law through them and its forecast, or why there are none.

    A blend is learnt anew for each point, weights included. All points score the same rows, so
    their noise is mostly shared; the law is fitted with their covariance.

    Parameters
    ----------
    prediction : (n, …) out of fold, of the served model
    layouts : the folds, and those with fewer training rows
    on_fewer : of each of the latter, what each member of the spec learned
    """
    errors = [_row_errors(served, design, layouts[0], prediction)]
    trials = len(spec.trials())
    for place, folds in enumerate(layouts[1:]):
        trained = on_fewer[place * trials : (place + 1) * trials]
        rows = _rows(folds, served)
        if not any(course.best_epoch for own in trained for course in own.courses):
            return _skipped(f"nothing was learned from {rows:,.0f} rows")
        model, _ = blend(spec, trained, design, folds)
        if model.folds != served.folds:
            return _skipped(f"not all folds learned something from {rows:,.0f} rows")
        found = refine(model, spec, design, folds)
        errors.append(_row_errors(model, design, folds, found.prediction))
    scored = np.concatenate([layouts[0][number].validation for number in served.folds])
    column = None if design.fold_column is None else design.fold_column[scored]
    terms = np.stack(errors[::-1], axis=1)
    typical = learning_of(spec).typical_error
    covariance = jackknife_covariance(terms, typical, units(spec, column, len(scored)))
    means = typical(terms.mean(axis=0))
    counts = np.array([_rows(folds, served) for folds in layouts[::-1]])
    if covariance is None or not (np.isfinite(covariance).all() and np.isfinite(means).all()):
        return _skipped("the errors have no standard errors")
    if not (means > 0).all() or len(np.unique(counts)) < len(counts):
        return _skipped("an error is 0, or two points have the same rows")
    curve = fit(counts, means, covariance)
    return {
        "points": [
            {"rows": rows, "error": error, "standard_error": deviation}
            for rows, error, deviation in zip(
                counts.tolist(), means.tolist(), np.sqrt(np.diag(covariance)).tolist(), strict=True
            )
        ],
        "law": asdict(curve.law),
        "forecast": {**asdict(curve.forecast(2 * counts[-1])), "coverage": COVERAGE},
        "skipped": None,
    }


def _skipped(reason: str) -> dict[str, Any]:
    return {"points": [], "law": None, "forecast": None, "skipped": reason}


def _rows(folds: Sequence[FoldRows], served: ServedModel) -> float:
    """The mean of the served folds' rows for training and for early stopping."""
    return float(np.mean([len(folds[number].known) for number in served.folds]))


def _row_errors(
    served: ServedModel, design: Design, folds: Sequence[FoldRows], prediction: Vector
) -> Vector:
    """(n,) of the rows that the served folds score, one fold after another."""
    scored = [folds[number].validation for number in served.folds]
    return np.concatenate(
        [
            served.fold(place).target.row_errors(design.target[rows], prediction[rows])
            for place, rows in enumerate(scored)
        ]
    )
