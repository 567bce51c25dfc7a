"""Gathers what a diagnosis knows from a trained and scored model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from models.data.design import Design
from models.data.folds import FoldRows
from models.evaluation.baselines import Comparison
from models.evaluation.diagnosis.evidence import Evidence, Vector
from models.export.served import ServedModel, predict
from models.objectives.trained import learning_of
from models.spec import TrainingSpec
from models.training.engine import TrainedPopulation

# Training rows of a fold that show how much its model fits.
MOST_FITTED_ROWS = 4_096
MISSING, REST = "(missing)", ["(rare levels)"]


def collect(
    served: ServedModel,
    spec: TrainingSpec,
    design: Design,
    folds: Sequence[FoldRows],
    trained: Sequence[TrainedPopulation],
    prediction: Vector,
    comparison: Comparison,
) -> Evidence:
    """`prediction` (n, …) is out of fold, `folds` are all of them."""
    own = [folds[number] for number in served.folds]
    rows = np.concatenate([fold.validation for fold in own])
    errors = comparison.errors
    constant = float(errors["constant"].mean())
    trials = zip(spec.trials(), trained, strict=True)
    networks = [(trial, done) for trial, done in trials if not trial.architecture.is_fitted]
    courses = [
        course
        for fold in range(len(folds))
        for _, population in networks
        for course in population.own_courses(fold)
    ]
    network = networks[0][0] if networks else spec
    batches = max(-(-len(fold.train) // network.batch_size) for fold in own)
    epochs = int(np.median([course.epochs for course in courses])) if courses else 0
    actual, signs = design.target[rows], None
    if not design.levels and prediction.ndim == 1:
        signs = np.sign(actual - prediction[rows])
    return Evidence(
        spec=spec,
        network=network,
        comparison=comparison,
        measured=learning_of(spec).measured,
        explained=1 - float(errors["networks"].mean()) / constant if constant > 0 else 0.0,
        fitted=_fitted(served, spec, design, own) if served.learns_smoothly else None,
        courses=courses,
        per_fold=max(1, len(courses) // len(folds)),
        steps=batches * epochs,
        parameters=served.largest_network(),
        train_rows=min(len(fold.train) for fold in own),
        widths=getattr(network.architecture, "hidden_sizes", []),
        residuals=None if signs is None else signs * np.sqrt(errors["networks"]),
        order=design.rows[rows],
        ordered_by=0.0 if signs is None else _ordered_by(design, rows),
        folds=np.repeat(served.folds, [len(fold.validation) for fold in own]),
        spans=_spans(design.numbers),
        numbers=dict(zip(design.numeric, design.numbers[rows].T, strict=True)),
        dates=[
            name
            for name, kind in zip(design.numeric, design.numeric_kinds, strict=True)
            if kind == "datetime"
        ],
        words={
            own.name: (codes, [MISSING if level is None else level for level in own.levels] + REST)
            for own, codes in zip(design.categorical, design.codes[rows].T, strict=True)
        },
    )


def _fitted(
    served: ServedModel, spec: TrainingSpec, design: Design, folds: Sequence[FoldRows]
) -> float:
    """The mean over the folds of the share that a model explains of its own training rows."""
    learning = learning_of(spec)
    shares = []
    for place, fold in enumerate(folds):
        rows = fold.train[:: -(-len(fold.train) // MOST_FITTED_ROWS)]
        own, actual = served.fold(place), design.target[rows]
        known = predict(own, design.numbers[rows], design.codes[rows])
        constant = learning.constant_error(own.target, actual)
        errors = own.target.row_errors(actual, known.values)
        shares.append(1 - float(np.mean(errors)) / constant if constant > 0 else 0.0)
    return float(np.mean(shares))


def _spans(numbers: Vector) -> Vector:
    """(2 D,) standard deviations and sizes of the means of numeric columns, of known cells."""
    known = np.ma.masked_invalid(numbers)
    with np.errstate(over="ignore", invalid="ignore"):  # a span of the largest numbers is infinite
        spans = [known.std(axis=0), np.ma.abs(known.mean(axis=0))]
    return np.concatenate([np.ma.filled(span, 0.0) for span in spans])


def _ordered_by(design: Design, rows: NDArray[np.int64]) -> float:
    """The largest rank correlation, by size, of the rows' order with the target or a number."""
    order = design.rows[rows]
    found = [0.0]
    for values in (design.target[rows], *design.numbers[rows].T):
        known = np.isfinite(values)
        if known.sum() > 2 and np.ptp(values[known]) > 0:
            found.append(abs(float(spearmanr(order[known], values[known])[0])))
    return max(found)
