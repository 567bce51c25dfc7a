"""Turns predictions of about the median of a skewed target into predictions of its mean.

exp of a mean of logarithms is below the mean, by a factor exp(−σ²/2) for normal errors. Duan 1983,
"Smearing estimate: a nonparametric retransformation method", multiplies by the mean of exp of the
residuals instead and assumes no distribution.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

from models.objectives.base import Vector
from models.objectives.regression.scale import TargetScale


def smear(target: TargetScale, scored: Sequence[tuple[Vector, Tensor]], *, in_time: bool) -> None:
    """Give each fold's members a factor learnt from the out-of-fold residuals of the other folds,
    so that rows do not influence the factor that they are scored with.

    Parameters
    ----------
    scored : of each fold, truths (n,) and raw outputs (m, n, 1) of its members
    in_time : from earlier folds only; the first has none and uses the later ones
    """
    members = len(target.center) // len(scored)
    residuals = []
    for fold, (actual, outputs) in enumerate(scored):
        own = slice(fold * members, (fold + 1) * members)
        predicted = target.restore(outputs, own).mean(0).numpy()
        residuals.append(np.log(actual) - np.log(predicted))
    factors = [
        _factor(residuals[:fold] if in_time and fold > 0 else _without(residuals, fold))
        for fold in range(len(residuals))
    ]
    target.smear(torch.tensor(factors, dtype=torch.float64).repeat_interleave(members))


def _without(residuals: list[NDArray[np.float64]], fold: int) -> list[NDArray[np.float64]]:
    return residuals[:fold] + residuals[fold + 1 :]


def _factor(residuals: list[NDArray[np.float64]]) -> float:
    """The mean of exp(residual); 1 if there are none."""
    if not residuals:
        return 1.0
    joined = np.concatenate(residuals)
    return float(np.exp(logsumexp(joined) - np.log(len(joined))))  # exp may overflow
