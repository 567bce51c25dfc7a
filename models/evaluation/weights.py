"""Weights of models that are added up, learnt from out-of-fold outputs (Wolpert 1992, "Stacked
generalization").

The few members of a spec have those of the least loss, which are not negative (Breiman 1996,
"Stacked regressions"). Trials of a sweep are added one by one (Caruana et al. 2004, "Ensemble
selection from libraries of models", doi 10.1145/1015330.1015432).

Fold f is served with weights that were learnt without the rows of fold f. So a row's out-of-fold
prediction is what fold f's blend gives. The other folds' models have seen its rows, which flatters
the error of few rows: by 4 % of 30 rows of noise and seven members, by 1 % of 150. So few rows have
equal weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from models.objectives.losses import RowLoss

# Fewer rows of other folds teach no weights.
FEWEST_ROWS = 40
# A member with a smaller share of a fold's weights gets none: it costs more than it brings.
LEAST_SHARE = 0.03
# A line with a strong penalty says almost nothing in some folds, and more in others. A weight that
# made up for the first would be ruinous for the second: R² −8 of 150 rows of noise.
LARGEST_WEIGHT = 2.0
SMALLEST_OUTPUT = 1e-9  # of a member that says nothing
# Trials that are added in each fold, the same one several times if it is the best again.
MOST_TRIALS = 6

Vector = NDArray[np.float64]


def member_weights(
    outputs: Sequence[Tensor], targets: Sequence[Tensor], loss: RowLoss, *, in_time: bool
) -> Vector:
    """(F, P) weights of the P members of a blend in each of F folds.

    Parameters
    ----------
    outputs : of each fold (n, P, O), raw, for the rows that it scores
    targets : of each fold (n,), as the loss takes them
    """
    count = outputs[0].shape[1]

    def learn(used: Sequence[int], actual: Tensor) -> Vector:
        return least_loss(torch.cat([outputs[fold] for fold in used]), actual, loss)

    return _fold_weights(targets, learn, np.full(count, 1 / count), in_time)


def trial_weights(
    outputs: Callable[[int, int], Tensor],
    count: int,
    targets: Sequence[Tensor],
    loss: RowLoss,
    *,
    in_time: bool,
) -> Vector:
    """(F, T) weights of the T trials of a sweep in each of F folds. At most `MOST_TRIALS` of them
    are above 0 in a fold, and their sum is 1.

    Parameters
    ----------
    outputs : from a fold and a trial to (n, O), raw, for the rows that the fold scores. Those of
        one trial are held at a time.
    count : of the trials
    targets : of each fold (n,), as the loss takes them
    """
    first = np.arange(count) < MOST_TRIALS

    def learn(used: Sequence[int], actual: Tensor) -> Vector:
        def of_trial(trial: int) -> Tensor:
            return torch.cat([outputs(fold, trial) for fold in used])

        return greedy(of_trial, count, actual, loss)

    return _fold_weights(targets, learn, first / first.sum(), in_time)


def _fold_weights(
    targets: Sequence[Tensor],
    learn: Callable[[Sequence[int], Tensor], Vector],
    unlearnt: Vector,
    in_time: bool,
) -> Vector:
    """Each fold's from the rows of the others, in time of earlier ones; `unlearnt` ones if those
    are few. `learn`: from folds and their targets."""
    found = []
    for fold in range(len(targets)):
        others = range(fold) if in_time else range(len(targets))
        used = [other for other in others if other != fold]
        if sum(len(targets[other]) for other in used) < FEWEST_ROWS:
            found.append(unlearnt)
        else:
            found.append(learn(used, torch.cat([targets[other] for other in used])))
    return np.stack(found)


def greedy(outputs: Callable[[int], Tensor], count: int, targets: Tensor, loss: RowLoss) -> Vector:
    """(T,) weights of a mean to which `MOST_TRIALS` times that trial is added with which the mean
    of outputs has the least loss against targets (n,); of the means on the way, that of the least
    loss. All are 0 if no trial has a finite loss.

    outputs : from a trial, of `count`, to (n, O)
    """
    times, added = np.zeros(count), torch.zeros_like(outputs(0))
    best, least = times, np.inf
    for step in range(1, MOST_TRIALS + 1):
        means = ((added + outputs(trial)) / step for trial in range(count))
        losses = np.array([loss.rows(mean, targets).mean().item() for mean in means])
        losses[~np.isfinite(losses)] = np.inf  # of a trial that diverged
        trial = int(losses.argmin())
        times[trial] += 1
        added = added + outputs(trial)
        if losses[trial] < least:
            best, least = times / step, losses[trial]
    return best


def least_loss(outputs: Tensor, targets: Tensor, loss: RowLoss) -> Vector:
    """(P,) weights from 0 to LARGEST_WEIGHT, whose sum of outputs (n, P, O) has the least mean loss
    against targets (n,); for squared errors, non-negative least squares. Small ones are left out,
    and the rest found again. All are 0 if nothing is better than the mean of the training
    targets."""
    count = outputs.shape[1]
    used = np.arange(count)
    while True:
        found = np.zeros(count)
        found[used] = _minimum(outputs[:, used], targets, loss)
        large = (found >= LEAST_SHARE * found.sum()) & (found > 0)
        if large[used].all() or not large.any():
            return np.where(large, found, 0.0)
        used = np.flatnonzero(large)


def _minimum(outputs: Tensor, targets: Tensor, loss: RowLoss) -> Vector:
    count = outputs.shape[1]
    # In one scale, because a member that diverged would hide the others' slopes.
    sizes = outputs.square().mean((0, 2), keepdim=True).sqrt()
    outputs = outputs / sizes.clamp(min=SMALLEST_OUTPUT)

    def value(weights: Vector) -> tuple[float, Vector]:
        blended = torch.einsum("npo,p->no", outputs, torch.from_numpy(weights))
        slopes = loss.slopes(blended, targets)
        by_weight = torch.einsum("npo,no->p", outputs, slopes) / len(targets)
        return loss.rows(blended, targets).mean().item(), by_weight.numpy()

    size = sizes.flatten().numpy()
    bounds = [(0.0, LARGEST_WEIGHT * float(own)) for own in size]
    started = np.minimum(1 / count, LARGEST_WEIGHT * size)
    found = minimize(value, started, jac=True, method="L-BFGS-B", bounds=bounds)
    weights: Vector = np.where(
        size > SMALLEST_OUTPUT, found.x / np.maximum(size, SMALLEST_OUTPUT), 0.0
    )
    return weights
