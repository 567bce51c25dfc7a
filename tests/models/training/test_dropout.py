"""Dropout masks: how many units they keep, and what they depend on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from models.members import Member
from models.spec import TrainingSpec
from models.training.dropout import PopulationNoise

ROWS, UNITS = 64, 333  # an odd number of units: draws come in fours


def noise_of(
    *, seed: int = 0, folds: Sequence[int] = (0, 1, 2), probability: float = 0.3
) -> PopulationNoise:
    """One member a fold."""
    spec = TrainingSpec(target="price", seed=seed, dropout=probability)
    members = [Member(0, spec, fold, 0) for fold in folds]
    return PopulationNoise(members, torch.float32, torch.device("cpu"))


def drawn(noise: PopulationNoise, rows: int = ROWS, units: int = UNITS) -> torch.Tensor:
    kept = noise.keep(rows, units)
    assert kept is not None
    return kept


def mask(
    *,
    seed: int = 0,
    folds: Sequence[int] = (0, 1, 2),
    epoch: int = 1,
    block: int = 0,
    probability: float = 0.3,
) -> torch.Tensor:
    noise = noise_of(seed=seed, folds=folds, probability=probability)
    noise.begin(epoch, block)
    return drawn(noise)


@pytest.mark.parametrize("probability", [0.01, 0.3, 0.5, 0.9])
def test_the_share_of_kept_units(probability: float) -> None:
    kept = mask(probability=probability)
    assert kept.shape == (3, ROWS, UNITS)
    size = ROWS * UNITS
    slack = 5 * (probability * (1 - probability) / size) ** 0.5  # five standard errors
    for member in kept:
        assert (member > 0).double().mean().item() == pytest.approx(1 - probability, abs=slack)
        assert member.double().mean().item() == pytest.approx(1, abs=slack / (1 - probability))
    values = kept.unique()
    assert values[0] == 0
    assert values[1].item() == pytest.approx(1 / (1 - probability), rel=1e-3)
    assert len(values) == 2


def test_every_row_and_unit_is_dropped_at_times() -> None:
    kept = mask(probability=0.5) > 0
    for axis in (1, 2):
        share = kept.double().mean(axis)
        assert 0 < share.min() < share.max() < 1


def test_a_mask_depends_on_the_fold_and_not_on_its_companions() -> None:
    together, alone = mask(folds=[0, 1, 2]), mask(folds=[2])
    assert torch.equal(together[2], alone[0])
    assert not torch.equal(together[0], together[1])


def test_a_mask_depends_on_the_block_and_not_on_what_was_drawn_before() -> None:
    noise = noise_of()
    for epoch, block in ((1, 0), (1, 1), (7, 3)):
        noise.begin(epoch, block)
        drawn(noise, 5, 5)
    noise.begin(7, 2)
    assert torch.equal(drawn(noise), mask(epoch=7, block=2))


def test_masks_of_other_places_and_seeds_differ() -> None:
    base = mask(epoch=2, block=1)
    for other in (mask(epoch=2, block=2), mask(epoch=1, block=1), mask(seed=1, epoch=2, block=1)):
        assert not torch.equal(base, other)
    noise = noise_of(folds=[0], probability=0.5)
    noise.begin(1, 0)
    assert not torch.equal(drawn(noise), drawn(noise))


def test_a_probability_just_below_one_is_no_division_by_zero() -> None:
    """The spec allows any p below 1."""
    kept = mask(probability=1 - 1e-9)
    assert torch.isfinite(kept).all()


def test_without_dropout_nothing_is_drawn() -> None:
    assert noise_of(probability=0.0).keep(ROWS, UNITS) is None


def members_with(*probabilities: float, places: Sequence[tuple[int, int]]) -> list[Member]:
    """A trial for each probability; `places` are (fold, replica)."""
    return [
        Member(trial, TrainingSpec(target="price", dropout=probability), *place)
        for (trial, probability), place in zip(enumerate(probabilities), places, strict=True)
    ]


def masks_of(members: Sequence[Member]) -> torch.Tensor:
    noise = PopulationNoise(members, torch.float32, torch.device("cpu"))
    noise.begin(1, 0)
    return drawn(noise)


def test_trials_of_a_fold_drop_the_same_units_as_far_as_they_can() -> None:
    """Common random numbers: who drops less drops a part of what the other drops."""
    none, less, more = masks_of(members_with(0.0, 0.2, 0.6, places=[(1, 0)] * 3))
    assert torch.equal(none, torch.ones_like(none))
    assert ((less == 0) <= (more == 0)).all()
    assert (less == 0).double().mean().item() == pytest.approx(0.2, abs=0.02)
    assert (more == 0).double().mean().item() == pytest.approx(0.6, abs=0.02)
    assert less.max().item() == pytest.approx(1 / 0.8, rel=1e-3)
    assert more.max().item() == pytest.approx(1 / 0.4, rel=1e-3)


def test_replicas_of_a_fold_draw_numbers_of_their_own() -> None:
    first, second = masks_of(members_with(0.3, 0.3, places=[(1, 0), (1, 1)]))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    "places",
    [
        [(0, 1), (0, 0)],  # what early stopping may leave of two trials with two replicas
        [(0, 1), (0, 0), (1, 0)],
        [(2, 0), (0, 0), (1, 0)],
        [(0, 1), (0, 0), (0, 1)],
    ],
)
def test_a_member_has_its_own_mask_in_any_company(places: list[tuple[int, int]]) -> None:
    members = members_with(*(0.3 + 0.1 * place for place in range(len(places))), places=places)
    for member, mask in zip(members, masks_of(members), strict=True):
        assert torch.equal(mask, masks_of([member])[0])
