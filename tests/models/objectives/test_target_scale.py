"""The target to what the network learns, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.objectives.regression.scale import TargetScale
from models.spec import TrainingSpec

PRICES = np.random.default_rng(0).lognormal(12, 0.5, 60)
FOLDS = [np.arange(0, 40), np.arange(20, 60)]


def scale_of(transform: str, target: np.ndarray = PRICES, **preprocessing: str) -> TargetScale:
    given = {"target_transform": transform, **preprocessing}
    spec = TrainingSpec.model_validate({"target": "price", "preprocessing": given})
    return TargetScale([target[rows] for rows in FOLDS], spec)


@pytest.mark.parametrize("transform", ["log", "none"])
def test_each_fold_standardises_by_its_training_rows(transform: str) -> None:
    standardised = scale_of(transform).standardize(torch.from_numpy(PRICES)).numpy()
    assert standardised.shape == (2, 60)
    known = np.log(PRICES) if transform == "log" else PRICES
    for fold, rows in enumerate(FOLDS):
        expected = (known - known[rows].mean()) / known[rows].std()
        np.testing.assert_allclose(standardised[fold], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("transform", ["log", "none"])
def test_restoring_undoes_standardising(transform: str) -> None:
    scale = scale_of(transform)
    restored = scale.restore(scale.standardize(torch.from_numpy(PRICES)).unsqueeze(2))
    for fold, rows in enumerate(FOLDS):
        np.testing.assert_allclose(restored[fold, rows], PRICES[rows], rtol=1e-12)


@pytest.mark.parametrize("transform", ["log", "none"])
def test_a_wild_output_is_cut_off_near_the_training_targets(transform: str) -> None:
    """On their own scale: the logarithm of the dearest and a little is a multiple of it."""
    wild = torch.tensor([[-1e30, 1e30, torch.inf, -torch.inf]]).expand(2, 4).unsqueeze(2)
    restored = scale_of(transform).restore(wild).numpy()
    for fold, rows in enumerate(FOLDS):
        known = PRICES[rows]
        room = 0.5 * np.ptp(known)
        low, high = known.min() - room, known.max() + room
        if transform == "log":
            low, high = known.min() / 1.5, known.max() * 1.5
        np.testing.assert_allclose(restored[fold], [low, high, high, low], rtol=1e-12)


def test_a_fold_multiplies_by_its_own_factor() -> None:
    scale = scale_of("log")
    smeared = scale_of("log", retransform="mean")
    smeared.smear(torch.tensor([1.0, 1.2], dtype=torch.float64))
    outputs = torch.zeros(2, 3, 1)
    ratio = smeared.restore(outputs) / scale.restore(outputs)
    np.testing.assert_allclose(ratio, [[1.0] * 3, [1.2] * 3], rtol=1e-12)
    wild = smeared.restore(torch.full((2, 1, 1), 1e3))
    assert torch.equal(wild, smeared.high)


def test_prices_far_from_zero_keep_their_cents() -> None:
    """A float32 of 1.7e9 is 128 wide; the scale is float64 throughout."""
    target = 1.7e9 + np.linspace(0, 1, 60)
    scale = scale_of("none", target)
    outputs = scale.standardize(torch.from_numpy(target)).float()
    cents = scale.restore(outputs.unsqueeze(2))[0].numpy()[FOLDS[0]] - 1.7e9
    np.testing.assert_allclose(cents, target[FOLDS[0]] - 1.7e9, atol=1e-5)


@pytest.mark.parametrize("transform", ["log", "none"])
@pytest.mark.parametrize("output", [np.nan, np.inf, -np.inf, 1e300])
def test_every_output_restores_to_a_number(transform: str, output: float) -> None:
    outputs = torch.full((2, 1, 1), output, dtype=torch.float64)
    restored = scale_of(transform).restore(outputs)
    assert torch.isfinite(restored).all()
    if np.isnan(output):
        mean = scale_of(transform).restore(torch.zeros(2, 1, 1))
        np.testing.assert_allclose(restored, mean, rtol=1e-12)
        assert not torch.equal(restored, mean)  # so that the row can be told from others


def test_targets_over_hundreds_of_orders_of_magnitude_restore_to_numbers() -> None:
    wide = np.exp(np.linspace(-340, 340, 60))
    for output in (1e3, -1e3):
        restored = scale_of("log", wide).restore(torch.full((2, 1, 1), output, dtype=torch.float64))
        assert torch.isfinite(restored).all()


def learnt(target: list[float], **preprocessing: str) -> TargetScale:
    """From all of these, by one fold."""
    spec = TrainingSpec.model_validate({"target": "price", "preprocessing": preprocessing})
    return TargetScale([np.array(target)], spec)


@pytest.mark.parametrize("transform", ["log", "none"])
def test_what_a_fold_learns(transform: str) -> None:
    target = [1.0, 2.0, 4.0, 8.0]
    scale = learnt(target, target_transform=transform)
    known = np.log(target) if transform == "log" else np.array(target)
    assert scale.center.item() == pytest.approx(known.mean())
    assert scale.scale.item() == pytest.approx(known.std())
    low, high = (1 / 1.5, 8 * 1.5) if transform == "log" else (1 - 3.5, 8 + 3.5)
    assert scale.low.item() == pytest.approx(low)
    assert scale.high.item() == pytest.approx(high)
    assert scale.transform(np.array([1.0, np.e])).tolist() == (
        [0.0, 1.0] if transform == "log" else [1.0, np.e]
    )


def test_a_target_that_does_not_vary_among_the_training_rows() -> None:
    scale = learnt([5.0, 5.0])
    assert (scale.center.item(), scale.scale.item()) == (5.0, 1.0)
