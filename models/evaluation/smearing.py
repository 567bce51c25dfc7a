"""From predictions that are about the median of a skewed target to predictions of its mean.

exp of a mean of logarithms lies below the mean, by exp(−σ²/2) for normal errors. Duan 1983,
"Smearing estimate: a nonparametric retransformation method", multiplies by the mean of exp of the
residuals instead of assuming any distribution of them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp

from models.data.design import Design
from models.export.served import ServedModel, predict


def smear(served: ServedModel, design: Design, scored: list[np.ndarray], *, in_time: bool) -> None:
    """Give the members of each fold their factor, learnt from the out-of-fold residuals of the
    other folds: what a fold is scored with knows nothing of the rows that score it.

    Parameters
    ----------
    scored : the validation rows of each of the model's folds, places in the design
    in_time : from earlier folds only; the first has none and takes the later ones
    """
    residuals = [
        np.log(design.target[rows])
        - np.log(predict(served.fold(place), design.numbers[rows], design.codes[rows])[0])
        for place, rows in enumerate(scored)
    ]
    factors = [
        _factor(residuals[:fold] if in_time and fold > 0 else _without(residuals, fold))
        for fold in range(len(residuals))
    ]
    served.target.smear(
        torch.tensor(factors, dtype=torch.float64).repeat_interleave(served.members_per_fold)
    )


def _without(residuals: list[NDArray[np.float64]], fold: int) -> list[NDArray[np.float64]]:
    return residuals[:fold] + residuals[fold + 1 :]


def _factor(residuals: list[NDArray[np.float64]]) -> float:
    """The mean of exp(residual); 1 without any."""
    if not residuals:
        return 1.0
    joined = np.concatenate(residuals)
    return float(np.exp(logsumexp(joined) - np.log(len(joined))))  # exp may overflow
