"""Calibration of probabilities: what it improves, what it leaves alone, and what teaches it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.isotonic import IsotonicRegression

from models.objectives.classification.calibration import (
    FEWEST_ISOTONIC_ROWS,
    KNOTS,
    Fold,
    calibrate,
    isotonic,
    temperature_of,
)
from models.objectives.classification.metrics import log_losses
from models.objectives.classification.probabilities import MARGIN_SCALE, ClassTarget
from models.spec import TrainingSpec

FOLDS = 5


def target_of(folds: list[Fold], **spec: Any) -> ClassTarget:
    classes = folds[0].outputs.shape[2]
    resolved = {"target": "state", "loss": "cross_entropy"} | spec
    training = [np.arange(20.0) % classes for fold in folds for _ in fold.outputs]
    levels = [f"class {place}" for place in range(classes)]
    return ClassTarget(training, levels, TrainingSpec.model_validate(resolved))


def drawn(
    rows: int = 400, classes: int = 3, members: int = 1, scale: float = 1.0, seed: int = 0
) -> list[Fold]:
    """Folds whose truths follow log-odds, given `scale` times as large: over-confident above 1."""
    chance = np.random.default_rng(seed)
    folds = []
    for _ in range(FOLDS):
        odds = 1.5 * chance.normal(size=(rows, classes))
        actual = (odds + chance.gumbel(size=odds.shape)).argmax(1)
        folds.append(Fold(actual, np.repeat(scale * odds[None], members, axis=0)))
    return folds


def bent(rows: int, seed: int = 0) -> list[Fold]:
    """Two classes whose outputs are right in order, but are not log-odds up to a factor."""
    chance = np.random.default_rng(seed)
    folds = []
    for _ in range(FOLDS):
        f = chance.uniform(-3, 3, rows)
        actual = (chance.uniform(size=rows) < 0.1 + 0.5 * (f > 1)).astype(int)
        folds.append(Fold(actual, np.stack([np.zeros(rows), f], -1)[None]))
    return folds


def loss_of(target: ClassTarget, folds: list[Fold]) -> float:
    """Each fold's rows by its own members."""
    members = len(folds[0].outputs)
    losses = []
    for place, fold in enumerate(folds):
        own = slice(place * members, (place + 1) * members)
        predicted = target.restore(torch.from_numpy(fold.outputs), own).mean(0).numpy()
        losses.append(log_losses(fold.actual, predicted))
    return float(np.concatenate(losses).mean())


def calibrated(folds: list[Fold], *, in_time: bool = False, **spec: Any) -> ClassTarget:
    target = target_of(folds, **spec)
    calibrate(target, folds, in_time=in_time)
    return target


# A temperature.


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("scale", [4.0, 0.25])
def test_outputs_that_are_too_sure_or_too_shy_improve(scale: float, classes: int) -> None:
    folds = drawn(scale=scale, classes=classes)
    target = calibrated(folds)
    np.testing.assert_allclose(target.temperature, scale, rtol=0.15)
    right = drawn(classes=classes)
    assert loss_of(target, folds) < loss_of(target_of(folds), folds) - 0.05
    assert loss_of(target, folds) == pytest.approx(loss_of(target_of(right), right), abs=0.005)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_outputs_that_are_right_stay_as_they_are(seed: int, classes: int) -> None:
    target = calibrated(drawn(classes=classes, seed=seed))
    assert target.temperature.unique().tolist() == [1]
    assert target.knots is None
    assert target.method == "none"


def test_it_is_the_temperature_of_the_least_log_loss() -> None:
    """Of the mean of the members' probabilities, up to a weak prior."""
    folds = drawn(members=2, scale=2.0)
    chance = np.random.default_rng(3)
    folds = [
        Fold(fold.actual, fold.outputs + chance.normal(size=fold.outputs.shape)) for fold in folds
    ]
    found = temperature_of(folds, 1.0)

    def loss(temperature: float) -> float:
        parts = [
            log_losses(fold.actual, softmax(fold.outputs / temperature, -1).mean(0))
            for fold in folds
        ]
        return float(np.concatenate(parts).mean())

    tried = found * np.array([0.9, 0.97, 1.03, 1.1])
    assert all(loss(found) < loss(other) for other in tried)


def test_outputs_that_separate_few_rows_do_not_become_certain() -> None:
    actual = np.arange(10) % 2
    folds = [Fold(actual, (4.0 * np.eye(2)[actual])[None])] * 2
    assert 0.2 < temperature_of(folds, 1.0) < 1


@pytest.mark.parametrize("loss", ["hinge", "perceptron"])
def test_margins_get_a_temperature_in_any_case(loss: str) -> None:
    folds = drawn(scale=MARGIN_SCALE)
    target = calibrated(folds, loss=loss)
    np.testing.assert_allclose(target.temperature, MARGIN_SCALE, rtol=0.1)
    assert (target.temperature != MARGIN_SCALE).all()
    assert target.method == "temperature"
    # By themselves, the margins are not taken for log-odds.
    wild = calibrated(drawn(scale=20.0), loss=loss)
    np.testing.assert_allclose(wild.temperature, 20, rtol=0.15)


def test_members_of_a_fold_share_its_temperature() -> None:
    target = calibrated(drawn(members=2, scale=3.0))
    assert target.temperature.shape == (2 * FOLDS, 1)
    assert torch.equal(target.temperature[::2], target.temperature[1::2])
    assert len(target.temperature.unique()) == FOLDS


@pytest.mark.parametrize(
    ("in_time", "taught"),
    [
        (False, [True, True, False, True, True]),
        (True, [False, False, False, True, True]),  # the first has no earlier one
    ],
)
def test_a_fold_is_calibrated_by_other_folds(in_time: bool, taught: list[bool]) -> None:
    folds = drawn(scale=3.0)
    before = calibrated(folds, in_time=in_time).temperature
    other = drawn(scale=5.0, seed=1)[0]
    changed = [*folds[:2], other, *folds[3:]]
    after = calibrated(changed, in_time=in_time).temperature
    assert (before != after).flatten().tolist() == taught


def test_a_fold_that_no_other_teaches_stays_as_it_is() -> None:
    assert calibrated(drawn(scale=4.0)[:1]).temperature.tolist() == [[1]]
    in_time = calibrated(drawn(scale=4.0), in_time=True)
    assert in_time.temperature[0] == 1
    np.testing.assert_allclose(in_time.temperature[1:], 4, rtol=0.3)
    margins = calibrated(drawn(scale=4.0), in_time=True, loss="hinge")
    assert margins.temperature[0] == MARGIN_SCALE
    bends = calibrated(bent(1_000), in_time=True)
    assert bends.knots is not None
    np.testing.assert_array_equal(bends.heights[0], KNOTS)


# A monotone function.


def test_a_bent_relation_gets_a_monotone_function() -> None:
    folds = bent(1_000)
    target = calibrated(folds)
    assert target.method == "isotonic"
    assert target.knots is not None
    steps = target.heights.diff(dim=1)
    assert (steps >= 0).all()
    assert 0 < target.heights.min()
    assert target.heights.max() < 1
    f = torch.tensor([[[0.0, -1.0], [0.0, 0.5], [0.0, 2.0]]], dtype=torch.float64)
    found = target.restore(f, slice(0, 1))[0, :, 1]
    np.testing.assert_allclose(found, [0.1, 0.1, 0.6], atol=0.05)
    scaled = target_of(folds)
    scaled.temperature = target.temperature
    assert loss_of(target, folds) < loss_of(scaled, folds) - 0.05


def test_few_rows_and_several_classes_get_none() -> None:
    few = FEWEST_ISOTONIC_ROWS // (FOLDS - 1) - 1
    assert calibrated(bent(few)).knots is None
    assert calibrated(bent(few + 2)).knots is not None
    assert calibrated(drawn(rows=1_000, scale=4.0)).knots is None


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_it_is_left_out_if_it_does_not_help(scale: float) -> None:
    target = calibrated(drawn(rows=1_000, classes=2, scale=scale))
    assert target.knots is None
    assert target.method == ("none" if scale == 1 else "temperature")


def test_its_heights_are_scikit_learn_s_at_the_knots() -> None:
    folds = bent(600)
    actual = np.concatenate([fold.actual for fold in folds])
    given = expit(np.concatenate([fold.outputs[0, :, 1] for fold in folds]) / 2.0)
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(given, actual)
    found = isotonic(folds, 2.0)
    least = 1 / (len(actual) + 2)
    np.testing.assert_allclose(found, fitted.predict(KNOTS).clip(least, 1 - least))


def test_a_fold_s_function_comes_from_other_folds() -> None:
    folds = bent(600)
    before = calibrated(folds).heights
    changed = [*folds[:2], bent(600, seed=9)[0], *folds[3:]]
    after = calibrated(changed).heights
    moved = (before != after).any(dim=1).tolist()
    assert moved == [True, True, False, True, True]


def test_knots_are_ascending_from_0_to_1() -> None:
    assert (KNOTS[0], KNOTS[-1]) == (0, 1)
    assert all(low < high for low, high in pairwise(KNOTS))
