"""Weights of a sweep's trials in each fold, and that they are honest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from models.evaluation.weights import (
    FEWEST_ROWS,
    MOST_TRIALS,
    Vector,
    greedy,
    member_weights,
    trial_weights,
)
from models.objectives.losses import CrossEntropy, RowLoss, SquaredError

Folds = tuple[list[Tensor], list[Tensor]]
FOLDS = 4


def numbers(trials: int = 12, rows: int = 60, seed: int = 0, alike: float = 0.5) -> Folds:
    """Outputs (n, T, 1) with unit errors, partly the same in all trials, and targets by fold."""
    rng = np.random.default_rng(seed)
    outputs, targets = [], []
    for _ in range(FOLDS):
        truth = rng.normal(size=rows)
        error = rng.normal(size=(rows, 1)) * alike**0.5
        error = error + rng.normal(size=(rows, trials)) * (1 - alike) ** 0.5
        outputs.append(torch.from_numpy(truth[:, None] + error)[..., None])
        targets.append(torch.from_numpy(truth))
    return outputs, targets


def classes(trials: int = 12, rows: int = 60, seed: int = 0) -> Folds:
    rng = np.random.default_rng(seed)
    outputs, targets = [], []
    for _ in range(FOLDS):
        truth = rng.integers(0, 3, rows)
        signal = 1.5 * np.eye(3)[truth][:, None] + rng.normal(size=(rows, trials, 3))
        outputs.append(torch.from_numpy(signal))
        targets.append(torch.from_numpy(truth))
    return outputs, targets


def error(folds: Folds, weights: np.ndarray, loss: RowLoss) -> float:
    """The mean loss of all rows, each by the weights of its fold."""
    rows = [
        loss.rows(torch.einsum("nto,t->no", outputs, torch.from_numpy(own)), targets)
        for outputs, targets, own in zip(*folds, weights, strict=True)
    ]
    return torch.cat(rows).mean().item()


def weights_of(
    outputs: list[Tensor], targets: list[Tensor], loss: RowLoss, *, in_time: bool = False
) -> Vector:
    count = outputs[0].shape[1]
    return trial_weights(
        lambda fold, trial: outputs[fold][:, trial], count, targets, loss, in_time=in_time
    )


CASES = [(numbers, SquaredError()), (classes, CrossEntropy())]


@pytest.mark.parametrize(("drawn", "loss"), CASES)
def test_weights_are_of_a_mean_of_few_trials(drawn: Callable[..., Folds], loss: RowLoss) -> None:
    weights = weights_of(*drawn(40), loss)
    assert weights.shape == (FOLDS, 40)
    np.testing.assert_allclose(weights.sum(1), 1)
    assert (weights >= 0).all()
    assert ((weights > 0).sum(1) <= MOST_TRIALS).all()
    assert ((weights > 0).sum(1) > 1).all()


@pytest.mark.parametrize("fold", range(FOLDS))
@pytest.mark.parametrize("in_time", [False, True])
@pytest.mark.parametrize(("drawn", "loss"), CASES)
def test_a_folds_own_rows_never_move_its_weights(
    drawn: Callable[..., Folds], loss: RowLoss, in_time: bool, fold: int
) -> None:
    """Neither which trials have weight nor how much; in time no later rows do either."""
    outputs, targets = drawn()
    before = weights_of(outputs, targets, loss, in_time=in_time)
    rng = np.random.default_rng(1)
    changed = [*targets]
    changed[fold] = targets[fold][torch.from_numpy(rng.permutation(len(targets[fold])))]
    after = weights_of(outputs, changed, loss, in_time=in_time)
    for place in range(FOLDS):
        taught = place > fold if in_time else place != fold
        assert np.array_equal(before[place], after[place]) or taught
    np.testing.assert_array_equal(before[fold], after[fold])
    if not (in_time and fold == FOLDS - 1):
        assert not np.array_equal(before, after)


def test_a_mean_is_better_than_its_best_trial_which_has_weight() -> None:
    outputs, targets = (torch.cat(parts) for parts in numbers(6))
    found = greedy(lambda trial: outputs[:, trial], 6, targets, SquaredError())
    errors = (outputs[..., 0] - targets[:, None]).square().mean(0).numpy()
    blended = (outputs[..., 0] @ torch.from_numpy(found) - targets).square().mean().item()
    assert blended < 0.9 * errors.min()
    assert found[errors.argmin()] > 0


def test_one_trial_that_is_best_alone_has_all_the_weight() -> None:
    outputs, targets = numbers(5)
    for fold in range(FOLDS):
        outputs[fold][:, 3, 0] = targets[fold]
    weights = weights_of(outputs, targets, SquaredError())
    np.testing.assert_array_equal(weights, np.tile(np.eye(5)[3], (FOLDS, 1)))


def test_copies_of_trials_change_nothing() -> None:
    outputs, targets = numbers(6)
    twice = [torch.cat([own, own], dim=1) for own in outputs]
    alone = weights_of(outputs, targets, SquaredError())
    doubled = weights_of(twice, targets, SquaredError())
    np.testing.assert_allclose(doubled[:, :6] + doubled[:, 6:], alone)


def test_a_trial_that_diverged_has_no_weight() -> None:
    outputs, targets = numbers(6)
    outputs[1][:, 0] = torch.inf
    outputs[2][5, 2] = torch.nan
    weights = weights_of(outputs, targets, SquaredError())
    assert weights[[0, 2, 3], 0].max() == 0
    assert weights[[0, 1, 3], 2].max() == 0
    np.testing.assert_allclose(weights.sum(1), 1)


def test_few_rows_choose_no_trials() -> None:
    rows = FEWEST_ROWS // 4
    outputs, targets = numbers(30, rows)
    weights = weights_of(outputs, targets, SquaredError())
    first = np.where(np.arange(30) < MOST_TRIALS, 1 / MOST_TRIALS, 0)
    np.testing.assert_allclose(weights, np.tile(first, (FOLDS, 1)))
    np.testing.assert_allclose(weights_of(*numbers(3, rows), SquaredError()), 1 / 3)
    members = member_weights(outputs, targets, SquaredError(), in_time=False)
    np.testing.assert_allclose(members, 1 / 30)


@pytest.mark.parametrize("trials", [12, 50])
def test_the_error_of_the_blend_is_that_on_new_rows(trials: int) -> None:
    """Also if the blend's trials were picked among many that are equally good."""
    stated, true, single = [], [], []
    for seed in range(20):
        folds = numbers(trials, 50, seed)
        weights = weights_of(*folds, SquaredError())
        stated.append(error(folds, weights, SquaredError()))
        true.append(error(numbers(trials, 500, 100 + seed), weights, SquaredError()))
        flat = torch.cat(folds[0])[..., 0] - torch.cat(folds[1])[:, None]
        single.append(flat.square().mean(0).min().item())
    assert np.mean(stated) == pytest.approx(np.mean(true), rel=0.04)
    assert np.mean(true) < 0.75  # a trial's is 1
    assert np.mean(single) < 0.93  # what picking one would state
