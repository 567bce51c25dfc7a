"""Cells to inputs, each scaling against an independent computation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from houses import array_design
from sklearn.preprocessing import RobustScaler, StandardScaler

from models.data.design import Vocabulary
from models.data.preprocessing import learn
from models.networks.encoder import Encoder
from models.spec import Preprocessing

SCALINGS = ["standard", "robust", "quantile", "none"]
TRAIN = slice(0, 150)
LARGEST_RANK = 3**0.5


def encode(
    numbers: np.ndarray,
    training_rows: list[np.ndarray],
    *,
    dtype: torch.dtype = torch.float64,
    **preprocessing: Any,
) -> np.ndarray:
    """(F, N, D) inputs of rows of numbers, learnt on each fold's training rows."""
    settings = Preprocessing.model_validate(preprocessing)
    learnt = learn(settings, array_design(numbers), training_rows)
    encoder = Encoder(learnt, [], settings, dtype)
    codes = torch.empty(1, len(numbers), 0, dtype=torch.int64)
    encoded: np.ndarray = encoder(torch.from_numpy(numbers)[None], codes).numpy()
    assert encoded.shape == (len(training_rows), *numbers.shape)
    return encoded


def encode_column(train: list[float], others: list[float], **preprocessing: Any) -> np.ndarray:
    """(len(others),) inputs of cells that a fold does not train on."""
    column = np.array([*train, *others])[:, None]
    return encode(column, [np.arange(len(train))], **preprocessing)[0, len(train) :, 0]


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    """(200, 4): normal, skewed, full of ties, mostly zero; some cells are missing."""
    rng = np.random.default_rng(0)
    numbers = np.column_stack(
        [
            rng.normal(50, 10, 200),
            rng.lognormal(8, 1.5, 200),
            rng.integers(1, 6, 200).astype(float),
            np.where(rng.uniform(size=200) < 0.7, 0.0, rng.uniform(10, 500, 200)),
        ]
    )
    numbers[rng.uniform(size=numbers.shape) < 0.1] = np.nan
    return numbers


def test_standard_scaling_is_scikit_learns(table: np.ndarray) -> None:
    scaler = StandardScaler().fit(table[TRAIN])
    filled = np.where(np.isnan(table), np.nanmean(table[TRAIN], axis=0), table)
    found = encode(table, [np.arange(200)[TRAIN]], numeric_scaling="standard")[0]
    np.testing.assert_allclose(found, scaler.transform(filled), rtol=1e-12, atol=1e-12)


def test_robust_scaling_is_scikit_learns_smoothly_clipped(table: np.ndarray) -> None:
    table = table[:, :3]  # the fourth has no interquartile range
    scaler = RobustScaler().fit(table[TRAIN])
    filled = np.where(np.isnan(table), np.nanmedian(table[TRAIN], axis=0), table)
    z = scaler.transform(filled)
    expected = z / np.sqrt(1 + (z / 3) ** 2)
    found = encode(
        table, [np.arange(200)[TRAIN]], numeric_missing="median", numeric_scaling="robust"
    )[0]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert np.abs(found).max() < 3


def test_quantile_scaling_is_the_rank_among_the_training_rows(table: np.ndarray) -> None:
    """Ties share their middle rank. Between 33 quantiles the rank is interpolated, so it may be
    one of their steps away."""
    found = encode(table, [np.arange(200)[TRAIN]], numeric_scaling="quantile")[0]
    for column, encoded in zip(table[TRAIN].T, found[TRAIN].T, strict=True):
        known = ~np.isnan(column)
        ranks = (pd.Series(column[known]).rank(method="average") - 0.5) / known.sum()
        expected = (ranks - 0.5) * 2 * LARGEST_RANK
        np.testing.assert_allclose(encoded[known], expected, atol=2 * LARGEST_RANK / 32)
        assert np.abs(encoded[known] - expected).mean() < 0.04
        assert encoded[known].std() == pytest.approx(expected.std(), rel=0.05)


def test_a_value_of_many_rows_has_their_middle_rank() -> None:
    train = [0.0] * 60 + list(np.linspace(1, 2, 40))
    zero = encode_column(train, [0.0], numeric_scaling="quantile")
    assert zero == pytest.approx((0.30 - 0.5) * 2 * LARGEST_RANK, abs=2 * LARGEST_RANK / 32)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_order_is_kept(scaling: str, table: np.ndarray) -> None:
    train = list(table[:, 1][~np.isnan(table[:, 1])])
    others = [-1e12, -1.0, *np.linspace(min(train), max(train), 50), 1e7, 1e12]
    encoded = encode_column(train, others, numeric_scaling=scaling)
    assert (np.diff(encoded) >= 0).all()


def test_ranks_beyond_the_training_rows_are_the_outermost() -> None:
    encoded = encode_column(
        list(np.arange(100.0)), [-1e9, 0.0, 99.0, 1e9], numeric_scaling="quantile"
    )
    np.testing.assert_allclose(encoded, np.array([-1, -1, 1, 1]) * LARGEST_RANK, atol=1e-9)


def test_no_scaling_takes_numbers_as_they_are() -> None:
    """Also large ones: a price in yen, a population."""
    others = [-3.5, 0.0, 2.0e6, 2.5e6, 4.0e9]
    assert encode_column([1.0, 2.0, 5.0e9], others, numeric_scaling="none").tolist() == others


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize(
    ("missing", "stand_in"), [("mean", 4.0), ("median", 3.0), ("zero", 0.0), ("drop_rows", 4.0)]
)
def test_a_missing_number_is_what_stands_in_for_it(
    missing: str, stand_in: float, scaling: str
) -> None:
    encoded = encode_column(
        [1.0, 2.0, 4.0, 9.0], [np.nan, stand_in], numeric_missing=missing, numeric_scaling=scaling
    )
    assert encoded[0] == pytest.approx(encoded[1], abs=1e-12)


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
def test_a_column_without_variation_is_zero_whatever_comes(scaling: str) -> None:
    encoded = encode_column([0.1] * 9, [0.1, 5.0, np.nan, -1e300], numeric_scaling=scaling)
    assert encoded.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
def test_the_seconds_of_a_timestamp_are_not_drowned(scaling: str) -> None:
    """In float32 a moment of today is 128 seconds wide."""
    start = 1.7e9
    train = list(start + np.arange(100.0))
    others = [start + 10.0, start + 11.0, start + 11.5]
    found = encode_column(train, others, numeric_scaling=scaling, dtype=torch.float32)
    expected = encode_column(
        [moment - start for moment in train],
        [moment - start for moment in others],
        numeric_scaling=scaling,
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert len(set(found)) == 3


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_largest_number_gives_a_finite_input(scaling: str) -> None:
    train = [1.0, 2.0, 3.0, 4.0, 5.0]
    for dtype in (torch.float32, torch.float64):
        low, ordinary, high = encode_column(
            train, [-1e300, 6.0, 1e300], numeric_scaling=scaling, dtype=dtype
        )
        assert np.isfinite([low, high]).all()
        assert low < 0 < ordinary <= high
        # Its square is finite in float32, so that no network is thrown by one cell.
        assert np.isfinite(np.float32(high) ** 2)


def test_a_far_outlier_is_clipped_to_the_bound() -> None:
    """The smooth clip flattens out; it does not come back to the middle."""
    train = [1.0, 2.0, 3.0, 4.0, 5.0]
    others = [-1e300, -1e6, 1e6, 1e160, 1e300]
    encoded = encode_column(train, others, numeric_scaling="robust")
    np.testing.assert_allclose(encoded, [-3, -3, 3, 3, 3], rtol=1e-6)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_an_outlier_among_the_training_rows_gives_finite_inputs(scaling: str) -> None:
    train = [1.0, 2.0, 3.0, 4.0, 1e300]
    encoded = encode_column(train, [-1e300, 0.0, 3.0, 1e300], numeric_scaling=scaling)
    assert np.isfinite(encoded).all()


@pytest.mark.parametrize("scaling", SCALINGS)
def test_each_fold_encodes_by_its_own_training_rows(scaling: str, table: np.ndarray) -> None:
    folds = [np.arange(0, 90), np.arange(80, 200)]
    together = encode(table, folds, numeric_scaling=scaling)
    for place, rows in enumerate(folds):
        alone = encode(table, [rows], numeric_scaling=scaling)
        np.testing.assert_array_equal(together[place], alone[0])
    assert scaling == "none" or not np.array_equal(together[0], together[1])


# Levels.

VOCABULARIES = [
    Vocabulary("zone", ["a", "b", None], numbers=False),
    Vocabulary("roof", ["x", "y"], numbers=False),
]
CODES = np.array([[0, 0], [1, 1], [2, 0], [3, 1], [1, 2], [3, 2]])  # 3 and 2 are unknown


def one_hot(training_rows: list[list[int]], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    settings = Preprocessing()
    design = array_design(np.arange(6.0)[:, None], CODES, VOCABULARIES)
    learnt = learn(settings, design, [np.array(rows) for rows in training_rows])
    encoder = Encoder(learnt, VOCABULARIES, settings, dtype)
    assert encoder.width == 1 + 5
    encoded: torch.Tensor = encoder(
        torch.from_numpy(design.numbers)[None], torch.from_numpy(CODES)[None]
    )
    assert encoded.dtype == dtype
    return encoded[:, :, 1:]


def test_a_level_is_a_column_of_its_own() -> None:
    assert one_hot([[0, 1, 2]]).tolist() == [
        [
            [1, 0, 0, 1, 0],
            [0, 1, 0, 0, 1],
            [0, 0, 1, 1, 0],
            [0, 0, 0, 0, 1],
            [0, 1, 0, 0, 0],
            [0, 0, 0, 0, 0],
        ]
    ]


def test_a_level_that_a_fold_has_not_seen_is_zero_there() -> None:
    first, second = one_hot([[0, 3], [1, 2]])
    assert first.tolist() == [
        [1, 0, 0, 1, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    assert second[:, 0].tolist() == [0] * 6
    assert second[1].tolist() == [0, 1, 0, 0, 1]


def test_inputs_have_the_networks_dtype() -> None:
    assert torch.equal(one_hot([[0]], torch.float64).float(), one_hot([[0]], torch.float32))


def test_a_table_of_words_alone() -> None:
    settings = Preprocessing()
    design = array_design(None, CODES, VOCABULARIES)
    encoder = Encoder(learn(settings, design, [np.arange(6)]), VOCABULARIES, settings)
    encoded = encoder(torch.from_numpy(design.numbers)[None], torch.from_numpy(CODES)[None])
    assert encoded.shape == (1, 6, 5)


def test_a_level_can_be_its_code_alone() -> None:
    """One input per categorical column; the number of levels, if the fold has not seen it."""
    settings = Preprocessing()
    design = array_design(np.arange(6.0)[:, None], CODES, VOCABULARIES)
    learnt = learn(settings, design, [np.array([0, 3]), np.array([1, 2])])
    encoder = Encoder(learnt, VOCABULARIES, settings, levels="codes")
    encoded = encoder(torch.from_numpy(design.numbers)[None], torch.from_numpy(CODES)[None])
    assert encoder.width == encoded.shape[2] == 3
    assert encoder.columns == (0, 1, 2)
    assert encoded[0, :, 1:].tolist() == [[0, 0], [3, 1], [3, 0], [3, 1], [3, 2], [3, 2]]
    assert encoded[1, :, 1:].tolist() == [[3, 0], [1, 1], [2, 0], [3, 1], [1, 2], [3, 2]]


def test_further_features_come_after_all_that_numbers_become() -> None:
    settings = Preprocessing()
    numbers = np.random.default_rng(0).normal(size=(6, 2))
    design = replace(array_design(numbers, CODES, VOCABULARIES), coordinates=(1, 0))
    learnt = learn(settings, design, [np.arange(6), np.arange(4)], bins=2)
    cells = torch.from_numpy(numbers)[None], torch.from_numpy(CODES)[None]
    extra = torch.arange(36, dtype=torch.float64).view(2, 6, 3)
    plain = Encoder(learnt, VOCABULARIES, settings)
    encoder = Encoder(learnt, VOCABULARIES, settings, extras=3)
    encoded = encoder(*cells, extra)
    bins = len(learnt.bin_columns)
    assert encoded.shape == (2, 6, encoder.width) == (2, 6, 8 + bins + 3 + 5)
    assert encoder.numeric == plain.numeric == 8
    first = 8 + bins
    assert torch.equal(encoded[..., first : first + 3], extra.float())
    others = torch.cat([encoded[..., :first], encoded[..., first + 3 :]], -1)
    assert torch.equal(others, plain(*cells))
    binned = [(0, 1, 1, 1, 1, 1, 1, 1)[place] for place in learnt.bin_columns]
    assert encoder.columns == (0, 1, *[1] * 6, *binned, 4, 5, 6, 2, 2, 2, 3, 3)
    assert plain.columns == (0, 1, *[1] * 6, *binned, 2, 2, 2, 3, 3)
