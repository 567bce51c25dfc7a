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
from models.objectives.baselines import Baseline, Cells
from models.objectives.metrics import finite, jackknife, units
from models.objectives.trained import learning_of
from models.randomness import stream_seed
from models.spec import Preprocessing, TrainingSpec

# A baseline that would take longer than this over all folds is left out.
MOST_SECONDS = 20.0
# Of a fold's inputs, which are encoded anew.
MOST_BYTES = 1024 * 1024 * 1024
NUMBER_BYTES = 8
SCALED = Preprocessing(numeric_scaling="standard")
# How they are called in a sentence.
WORDS = {
    "mean": "the mean",
    "majority": "the classes' shares",
    "ridge": "ridge regression",
    "logistic_regression": "logistic regression",
    "boosting": "boosted trees",
}

Json = dict[str, Any]
Vector = NDArray[np.float64]


def score_baselines(
    served: ServedModel,
    spec: TrainingSpec,
    design: Design,
    folds: Sequence[FoldRows],
    prediction: Vector,
) -> Json:
    """Of each baseline that the spec asks for: its metrics over the pooled out-of-fold rows; the
    mean error of the networks minus its own; the share of its error by which the networks are
    better; and the standard errors of both.

    A baseline learns from all of a fold's training rows, those that early stopping watches too.

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

    def better(means: Vector) -> Vector:
        share: Vector = 1 - typical(means[..., 0]) / typical(means[..., 1])
        return share

    asked = learning.baselines(spec, design.levels)
    found: Json = {}
    for name, baseline in asked.items():
        if reason := _too_long(baseline, served, design, folds):
            found[name] = {"skipped": reason}
    known = {name: baseline for name, baseline in asked.items() if name not in found}
    predicted, seconds, failures = _predict(known, spec, design, folds)
    found |= {name: {"skipped": f"it failed: {reason}"} for name, reason in failures.items()}
    for name in predicted:
        terms = np.stack([own, _row_errors(served, design, folds, predicted[name])], axis=1)
        means = terms.mean(axis=0)
        pooled = np.concatenate(predicted[name])
        found[name] = {
            "metrics": learning.fold_metrics(
                judge, design.target[rows], pooled, design.target[rows]
            ),
            "difference": float(difference(means)),
            "standard_error": jackknife(terms, difference, apart),
            "better_by": finite(better(means)) if means[1] > 0 else None,
            "better_by_error": jackknife(terms, better, apart),
            "seconds": round(seconds[name], 3),
        }
    return {name: found[name] for name in asked}


def comparison(baselines: Json) -> str | None:
    """A sentence that says whether the networks are worth having; None without baselines."""
    parts = []
    for name, found in reversed(baselines.items()):
        share, error = found.get("better_by"), found.get("better_by_error")
        if share is None:
            continue
        doubt = "" if error is None else f" ± {100 * error:.1f}"
        way = "better" if share >= 0 else "worse"
        parts.append(f"{100 * abs(share):.1f}{doubt} % {way} than {WORDS[name]}")
    return ", ".join(parts) or None


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
    columns = len(design.numeric) + len(design.categorical)
    inputs = len(design.numeric) + sum(known.unknown for known in design.categorical)
    outputs = served.target.outputs
    learnt = [len(fold.train) + len(fold.watched) for fold in folds]
    expected = sum(baseline.seconds(rows, columns, inputs, outputs) for rows in learnt)
    if expected > MOST_SECONDS:
        return f"it would take about {expected:.0f} s, more than {MOST_SECONDS:.0f}"
    if NUMBER_BYTES * len(design) * max(inputs, outputs) > MOST_BYTES:
        return f"its {inputs:,} inputs and {outputs:,} outputs would take too much memory"
    return None


def _predict(
    baselines: dict[str, Baseline], spec: TrainingSpec, design: Design, folds: Sequence[FoldRows]
) -> tuple[dict[str, list[Vector]], dict[str, float], dict[str, str]]:
    """Of each baseline its predictions (m, …) of the rows that each fold scores, and its seconds,
    or why it has none.

    A fold's rows are encoded once for all of them.
    """
    predicted: dict[str, list[Vector]] = {name: [] for name in baselines}
    seconds = dict.fromkeys(baselines, 0.0)
    failures: dict[str, str] = {}
    for place, fold in enumerate(folds if baselines else ()):
        rows = np.concatenate([fold.train, fold.watched])
        encoder = Encoder(learn(SCALED, design, [rows]), design.categorical, SCALED, torch.float64)
        known, asked = _cells(encoder, design, rows), _cells(encoder, design, fold.validation)
        seed = stream_seed(spec.seed, "baselines", place) % 2**32
        for name in [name for name in baselines if name not in failures]:
            began = time.monotonic()
            try:
                own = baselines[name].predict(known, design.target[rows], asked, seed)
            except ValueError as error:  # numbers that it cannot take
                failures[name] = str(error)
                del predicted[name]
                continue
            predicted[name].append(own)
            seconds[name] += time.monotonic() - began
    return predicted, seconds, failures


def _cells(encoder: Encoder, design: Design, rows: NDArray[np.int64]) -> Cells:
    numbers, codes = design.numbers[rows], design.codes[rows]
    parts = encoder(torch.from_numpy(numbers[None]), torch.from_numpy(codes[None]))
    levels = tuple(known.unknown + 1 for known in design.categorical)
    return Cells(numbers, codes, levels, parts[0].numpy())
