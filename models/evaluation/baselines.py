"""Simple models on the same folds as the networks, and how much better the networks are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models.data.design import Design
from models.data.folds import FoldRows
from models.data.preprocessing import learn
from models.export.served import ServedModel
from models.networks.encoder import Encoder
from models.objectives.baselines import Baseline, Cells
from models.objectives.metrics import Metrics, Units, finite, jackknife, units
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


@dataclass(frozen=True)
class Comparison:
    """Errors of the same rows.

    errors : (n,) by name: `networks`, `constant` (the best constant of each fold's training rows),
        and each baseline that could be learnt
    baselines : what the result says of each that the spec asks for
    units : (n,) what errs independently
    """

    errors: dict[str, Vector]
    units: Units
    typical: Callable[[Vector], Vector]
    skipped: dict[str, str]
    metrics: dict[str, Metrics]
    seconds: dict[str, float]

    @property
    def baselines(self) -> list[str]:
        return list(self.metrics)

    def better(self, than: str, name: str = "networks") -> tuple[float, float | None]:
        """The share of another's error by which one errs less, and its standard error; NaN if the
        other makes no error."""

        def share(means: Vector) -> Vector:
            found: Vector = 1 - self.typical(means[..., 0]) / self.typical(means[..., 1])
            return found

        terms = np.stack([self.errors[name], self.errors[than]], axis=1)
        with np.errstate(all="ignore"):
            return float(share(terms.mean(axis=0))), jackknife(terms, share, self.units)

    def difference(self, name: str) -> tuple[float, float | None]:
        """The networks' error minus a baseline's, in the reported unit, and its standard error."""

        def gap(means: Vector) -> Vector:
            found: Vector = self.typical(means[..., 0]) - self.typical(means[..., 1])
            return found

        terms = np.stack([self.errors["networks"], self.errors[name]], axis=1)
        return float(gap(terms.mean(axis=0))), jackknife(terms, gap, self.units)

    def result(self) -> Json:
        """By name of a baseline, what a job's result says of it."""
        found: Json = {}
        for name, metrics in self.metrics.items():
            difference, error = self.difference(name)
            share, share_error = self.better(name)
            found[name] = {
                "metrics": metrics,
                "difference": finite(difference),
                "standard_error": error,
                "better_by": finite(share),
                "better_by_error": share_error,
                "seconds": round(self.seconds[name], 3),
            }
        return found | {name: {"skipped": reason} for name, reason in self.skipped.items()}

    def sentence(self) -> str | None:
        """Whether the networks are worth having; None without baselines."""
        parts = []
        for name in reversed(self.baselines):
            share, error = self.better(name)
            if finite(share) is None or (error or 0.0) > 1:  # nothing is known
                continue
            doubt = "" if error is None else f" ± {100 * error:.1f}"
            if share < -1:
                parts.append(f"{1 - share:.3g} times the error of {WORDS[name]}")
                continue
            way = "better" if share >= 0 else "worse"
            parts.append(f"{100 * abs(share):.1f}{doubt} % {way} than {WORDS[name]}")
        return ", ".join(parts) or None


def compare(
    served: ServedModel,
    spec: TrainingSpec,
    design: Design,
    folds: Sequence[FoldRows],
    prediction: Vector,
) -> Comparison:
    """Of the networks and each baseline that the spec asks for. A baseline learns from all of a
    fold's training rows, those that early stopping watches too.

    Parameters
    ----------
    folds : those of the served model
    prediction : (n, …) out of fold, of the networks
    """
    learning = learning_of(spec)
    rows = np.concatenate([fold.validation for fold in folds])
    column = None if design.fold_column is None else design.fold_column[rows]
    judge = learning.target([design.target], design.levels, spec)
    constant = learning.baselines(spec.model_copy(update={"baselines": ["mean"]}), design.levels)
    asked = learning.baselines(spec, design.levels)
    skipped = {
        name: reason
        for name, baseline in asked.items()
        if (reason := _too_long(baseline, served, design, folds))
    }
    known = {name: baseline for name, baseline in asked.items() if name not in skipped}
    (always,) = constant
    predicted, seconds, failures = _predict({**constant, **known}, spec, design, folds)

    def errors(own: Sequence[Vector]) -> Vector:
        return _row_errors(served, design, folds, own)

    return Comparison(
        errors={
            "networks": errors([prediction[fold.validation] for fold in folds]),
            "constant": errors(predicted[always]),
            **{name: errors(predicted[name]) for name in known if name in predicted},
        },
        units=units(spec, column, len(rows)),
        typical=learning.typical_error,
        skipped=skipped | {name: f"it failed: {reason}" for name, reason in failures.items()},
        metrics={
            name: learning.fold_metrics(
                judge, design.target[rows], np.concatenate(predicted[name]), design.target[rows]
            )
            for name in known
            if name in predicted
        },
        seconds=seconds,
    )


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
    if baseline.is_encoded and NUMBER_BYTES * len(design) * max(inputs, outputs) > MOST_BYTES:
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
                # Small systems take many times as long on several threads, and sums differ.
                with threadpool_limits(1):
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
    levels = tuple(known.unknown + 1 for known in design.categorical)

    def encode() -> Vector:
        parts = encoder(torch.from_numpy(numbers[None]), torch.from_numpy(codes[None]))
        encoded: Vector = parts[0].numpy()
        return encoded

    return Cells(numbers, codes, levels, encode)
