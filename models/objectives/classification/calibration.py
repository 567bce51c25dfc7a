"""Calibrates probabilities on out-of-fold outputs.

One temperature divides all outputs (Guo et al. 2017, arXiv 1706.04599). Of two classes, an isotonic
function may follow (Zadrozny and Elkan 2002, doi 10.1145/775047.775151). Both are used only if they
measurably lower the log loss. Each fold's are learnt from the other folds, so that rows do not
influence the calibration that they are scored with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp, softmax
from sklearn.isotonic import IsotonicRegression

from models.objectives.base import Vector
from models.objectives.classification.metrics import log_losses
from models.objectives.classification.probabilities import ClassTarget

# Outputs that a temperature is learnt from: it is one number.
MOST_OUTPUTS = 500_000
# Standard deviation of a temperature's logarithm before any row is seen, and its bound.
DEVIATION = 0.5
FARTHEST = 7.0
# Where a monotone function bends: evenly spaced log-odds.
KNOTS = np.concatenate([[0.0], expit(np.linspace(-6, 6, 25)), [1.0]])
# Rows that teach a fold below which a monotone function follows chance.
FEWEST_ISOTONIC_ROWS = 1_000


Part = TypeVar("Part")


@dataclass(frozen=True)
class Fold:
    """Truths (n,) and raw outputs (m, n, C) of a fold's members on the rows that they did not
    see."""

    actual: NDArray[np.int64]
    outputs: Vector

    def probabilities(self, temperature: float) -> Vector:
        """(m, n, C)"""
        found: Vector = softmax(self.outputs / temperature, axis=-1)
        return found


def calibrate(target: ClassTarget, folds: Sequence[Fold], *, in_time: bool) -> None:
    """Give each fold's members what the other folds teach; in time, the earlier ones, so that the
    first learns nothing. Outputs of a margin loss get a temperature in any case."""
    others = [other_folds(folds, fold, in_time=in_time) for fold in range(len(folds))]
    plain = [fold.probabilities(target.scale) for fold in folds]
    temperatures = [temperature_of(rest, target.scale) if rest else target.scale for rest in others]
    scaled = [fold.probabilities(one) for fold, one in zip(folds, temperatures, strict=True)]
    if target.has_margins or _is_better(folds, scaled, plain):
        target.temperature = by_member(temperatures, target, len(folds))
        plain = scaled
    else:
        temperatures = [target.scale] * len(folds)
    teaching = [_rows(rest) for rest in others if rest]
    if target.outputs != 2 or min(teaching, default=0) < FEWEST_ISOTONIC_ROWS:
        return
    curves = [
        isotonic(rest, one) if rest else KNOTS
        for rest, one in zip(others, temperatures, strict=True)
    ]
    curved = []
    for found, heights in zip(plain, curves, strict=True):
        second = np.interp(found[..., 1], KNOTS, heights)
        curved.append(np.stack([1 - second, second], -1))
    if _is_better(folds, curved, plain):
        target.knots = by_member([KNOTS] * len(folds), target, len(folds))
        target.heights = by_member(curves, target, len(folds))


def _is_better(folds: Sequence[Fold], after: Sequence[Vector], before: Sequence[Vector]) -> bool:
    """Whether probabilities (m, n, C) of folds lower the log loss by more than a standard error."""
    truths = np.concatenate([fold.actual for fold in folds])
    new, old = (
        log_losses(truths, np.concatenate([part.mean(0) for part in parts]))
        for parts in (after, before)
    )
    gain = old - new
    return bool(gain.mean() > np.std(gain) / np.sqrt(len(gain)))


def temperature_of(folds: Sequence[Fold], expected: float) -> float:
    """The temperature with the lowest log loss of the members' mean, and a weak prior around
    `expected`, so that outputs that separate all of few rows do not become certain."""
    parts = _sample(folds)
    actual = np.concatenate([fold.actual for fold in parts])

    def loss(away: float) -> float:
        scaled = expected * np.exp(away)
        logs = np.concatenate([_log_mean(fold.outputs / scaled) for fold in parts])
        true = np.take_along_axis(logs, actual[:, None], 1)
        return float(-true.sum() + (away / DEVIATION) ** 2 / 2)

    found = minimize_scalar(loss, bounds=(-FARTHEST, FARTHEST), method="bounded")
    return expected * float(np.exp(found.x))


def isotonic(folds: Sequence[Fold], temperature: float) -> Vector:
    """The heights at `KNOTS` of the best monotone function of the second class's probability."""
    members = len(folds[0].outputs)
    actual = np.concatenate([np.tile(fold.actual, members) for fold in folds])
    given = np.concatenate([fold.probabilities(temperature)[..., 1].ravel() for fold in folds])
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(given, actual)
    rows = len(actual) / members
    # Nothing is certain: as if each class had one row more.
    heights: Vector = np.clip(fitted.predict(KNOTS), 1 / (rows + 2), 1 - 1 / (rows + 2))
    return heights


def other_folds(folds: Sequence[Part], fold: int, *, in_time: bool) -> list[Part]:
    """The folds that teach one; in time, the earlier ones."""
    return [*folds[:fold], *(() if in_time else folds[fold + 1 :])]


def _rows(folds: Sequence[Fold]) -> int:
    return sum(len(fold.actual) for fold in folds)


def _sample(folds: Sequence[Fold]) -> list[Fold]:
    step = -(-sum(fold.outputs.size for fold in folds) // MOST_OUTPUTS)
    return [Fold(fold.actual[::step], fold.outputs[:, ::step]) for fold in folds]


def _log_mean(outputs: Vector) -> Vector:
    """(n, C) the logarithm of the members' mean probabilities, from outputs (m, n, C)."""
    logs = outputs - logsumexp(outputs, axis=-1, keepdims=True)
    mean: Vector = logsumexp(logs, axis=0) - np.log(len(outputs))
    return mean


def by_member(of_folds: Sequence[float | Vector], target: ClassTarget, folds: int) -> torch.Tensor:
    """(K, …) of numbers or vectors by fold."""
    values = torch.from_numpy(np.array(of_folds, np.float64).reshape(folds, -1))
    return values.repeat_interleave(len(target.prior) // folds, 0)
