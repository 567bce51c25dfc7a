"""Simple models on the same folds as the networks, and how much better the networks are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.data.design import Design
from models.data.folds import FoldRows
from models.data.preprocessing import learn
from models.export.served import ServedModel
from models.networks.encoder import Encoder
from models.objectives.learning import Baseline
from models.objectives.metrics import jackknife, units
from models.objectives.trained import learning_of
from models.randomness import stream_seed
from models.spec import Preprocessing, TrainingSpec

# A baseline that would take longer than this over all folds is left out.
MOST_SECONDS = 20.0
# Of a fold's inputs, which are encoded anew.
MOST_BYTES = 1024 * 1024 * 1024
NUMBER_BYTES = 8
SCALED = Preprocessing(numeric_scaling="standard")

Vector = NDArray[np.float64]


def score_baselines(
    served: ServedModel,
    spec: TrainingSpec,
    design: Design,
    folds: Sequence[FoldRows],
    prediction: Vector,
) -> dict[str, Any]:
    """For each baseline its metrics over the pooled out-of-fold rows, and the mean error of the
    networks minus its own, with the standard error of the difference.

    A baseline learns from all of a fold's training rows, those that early stopping watches too, in
    standardised columns with an input for each level.

    Parameters
    ----------
    folds : those of the served model
    prediction : (n, …) out of fold, of the networks
    """
    learning = learning_of(spec)
    rows = np.concatenate([fold.validation for fold in folds])
    column = None if design.fold_column is None else design.fold_column[rows]
    apart = units(spec, column, len(rows))
    judge = learning.target([design.target], design.levels, spec)
    typical = learning.typical_error
    own = _row_errors(served, design, folds, [prediction[fold.validation] for fold in folds])

    def difference(means: Vector) -> Vector:
        gap: Vector = typical(means[..., 0]) - typical(means[..., 1])
        return gap

    found: dict[str, Any] = {}
    for name, baseline in learning.baselines(design.levels).items():
        if reason := _too_long(baseline, served, design, folds):
            found[name] = {"skipped": reason}
            continue
        began = time.monotonic()
        predicted = [
            _predict(baseline, spec, design, fold, place) for place, fold in enumerate(folds)
        ]
        terms = np.stack([own, _row_errors(served, design, folds, predicted)], axis=1)
        found[name] = {
            "metrics": learning.fold_metrics(
                judge, design.target[rows], np.concatenate(predicted), design.target[rows]
            ),
            "difference": float(difference(terms.mean(axis=0))),
            "standard_error": jackknife(terms, difference, apart),
            "seconds": round(time.monotonic() - began, 3),
        }
    return found


def _row_errors(
    served: ServedModel,
    design: Design,
    folds: Sequence[FoldRows],
    predicted: Sequence[Vector],
) -> Vector:
    """(n,) of the rows that the folds score, one fold after another."""
    return np.concatenate(
        [
            served.fold(place).target.row_errors(design.target[fold.validation], own)
            for place, (fold, own) in enumerate(zip(folds, predicted, strict=True))
        ]
    )


def _too_long(
    baseline: Baseline, served: ServedModel, design: Design, folds: Sequence[FoldRows]
) -> str | None:
    """Why a baseline is left out."""
    inputs = len(design.numeric) + sum(known.unknown for known in design.categorical)
    learnt = sum(len(fold.train) + len(fold.watched) for fold in folds)
    expected = baseline.seconds(learnt, inputs, served.target.outputs)
    if expected > MOST_SECONDS:
        return f"it would take about {expected:.0f} s, more than {MOST_SECONDS:.0f}"
    outputs = served.target.outputs
    if NUMBER_BYTES * len(design) * max(inputs, outputs) > MOST_BYTES:
        return f"its {inputs:,} inputs and {outputs:,} outputs would take too much memory"
    return None


def _predict(
    baseline: Baseline, spec: TrainingSpec, design: Design, fold: FoldRows, place: int
) -> Vector:
    """(m, …) of the rows that a fold scores."""
    known = np.concatenate([fold.train, fold.watched])
    statistics = learn(SCALED, design, [known])
    encoder = Encoder(statistics, design.categorical, SCALED, torch.float64)

    def inputs(rows: NDArray[np.int64]) -> Vector:
        numbers, codes = design.numbers[rows], design.codes[rows]
        parts = encoder(torch.from_numpy(numbers[None]), torch.from_numpy(codes[None]))
        found: Vector = parts[0].numpy()
        return found

    seed = stream_seed(spec.seed, "baselines", place) % 2**32
    return baseline.predict(inputs(known), design.target[known], inputs(fold.validation), seed)
