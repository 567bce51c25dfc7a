"""Piecewise-linear codes of numbers, against their definition in plain numpy."""

from __future__ import annotations

import bisect

import numpy as np
import pytest
import torch
from houses import array_design

from models.data.design import Vocabulary
from models.data.preprocessing import FoldStatistics, learn
from models.networks.encoder import Encoder
from models.spec import Preprocessing

ROWS = 40
PREPROCESSING = Preprocessing(
    numeric_missing="median", numeric_scaling="standard", target_transform="none"
)
WORDS = Vocabulary("words", ["a", "b", "c"], numbers=False)


def numbers_of() -> np.ndarray:
    """Smooth, few values, mostly one value, constant, missing at times, missing throughout; the
    second half of the rows has more different values than the first."""
    rng = np.random.default_rng(0)
    smooth = rng.normal(1e3, 50, ROWS)
    few = np.where(np.arange(ROWS) < ROWS / 2, np.arange(ROWS) % 2, np.arange(ROWS) % 5) * 1.0
    mostly = np.where(np.arange(ROWS) % 8 == 0, rng.uniform(1, 2, ROWS), 0.0)
    gaps = np.where(np.arange(ROWS) % 3 == 0, np.nan, rng.exponential(size=ROWS))
    constant, missing = np.full(ROWS, 7.0), np.full(ROWS, np.nan)
    return np.column_stack([smooth, few, mostly, constant, gaps, missing])


FOLDS = [np.arange(ROWS // 2), np.arange(ROWS // 2, ROWS), np.arange(0, ROWS, 3)]


def edges_of(column: np.ndarray, bins: int) -> list[float]:
    """Different quantiles of the known numbers."""
    known = column[~np.isnan(column)]
    if len(known) == 0:
        return [0.0]
    return sorted(set(np.quantile(known, np.arange(bins + 1) / bins).tolist()))


def code_of(number: float, edges: list[float], width: int) -> list[float]:
    """One number's code: full bins below it, a part of its own, empty ones above; then padding."""
    bins = len(edges) - 1
    place = bisect.bisect_right(edges, number) - 1
    code = [1.0 if bin_ < place else 0.0 for bin_ in range(bins)]
    if 0 <= place < bins:
        code[place] = (number - edges[place]) / (edges[place + 1] - edges[place])
    return code + [0.0] * (width - bins)


def expected_codes(numbers: np.ndarray, fold: int, bins: int) -> np.ndarray:
    """(n, P) by one fold's training rows."""
    edges = [[edges_of(column[rows], bins) for column in numbers.T] for rows in FOLDS]
    widths = [max(len(own[place]) - 1 for own in edges) for place in range(numbers.shape[1])]
    table = []
    for row in numbers:
        codes: list[float] = []
        for place, number in enumerate(row):
            known = numbers[FOLDS[fold], place]
            known = known[~np.isnan(known)]
            fill = float(np.median(known)) if len(known) else 0.0
            filled = fill if np.isnan(number) else float(number)
            codes += code_of(filled, edges[fold][place], widths[place])
        table.append(codes)
    return np.array(table)


def learnt(numbers: np.ndarray, bins: int) -> FoldStatistics:
    return learn(PREPROCESSING, array_design(numbers), FOLDS, bins=bins)


def encode(statistics: FoldStatistics, numbers: np.ndarray) -> np.ndarray:
    """(F, n, D + P)"""
    encoder = Encoder(statistics, [], PREPROCESSING, torch.float64)
    codes = torch.empty(1, len(numbers), 0, dtype=torch.int64)
    encoded = encoder(torch.from_numpy(numbers).unsqueeze(0), codes)
    assert encoded.shape == (len(FOLDS), len(numbers), encoder.width)
    return encoded.numpy()


@pytest.mark.parametrize("bins", [2, 4, 16, 64])
def test_the_code_is_the_definition(bins: int) -> None:
    numbers = numbers_of()
    encoded = encode(learnt(numbers, bins), numbers)
    for fold in range(len(FOLDS)):
        expected = expected_codes(numbers, fold, bins)
        found = encoded[fold, :, numbers.shape[1] :]
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_the_cases_are_what_they_are_meant_to_be() -> None:
    """Folds with different numbers of bins, and columns with none at all."""
    numbers = numbers_of()
    statistics = learnt(numbers, 16)
    used = statistics.bin_width > 0
    bins = [[int(fold[statistics.bin_columns == c].sum()) for c in range(6)] for fold in used]
    assert [row[0] for row in bins[:2]] == [16, 16]
    assert 0 < bins[0][1] < bins[1][1] < 16
    assert all(0 < row[2] < 16 for row in bins[:2])
    assert [row[3] for row in bins] == [row[5] for row in bins] == [0, 0, 0]


def test_numbers_beyond_the_training_rows_have_the_code_of_the_ends() -> None:
    numbers = numbers_of()
    statistics = learnt(numbers, 8)
    low, high = np.full((1, 6), -1e300), np.full((1, 6), 1e300)
    assert (encode(statistics, low)[:, 0, 6:] == 0).all()
    assert np.array_equal(encode(statistics, high)[:, 0, 6:], statistics.bin_width > 0)


def test_no_bins_are_no_columns() -> None:
    numbers = numbers_of()
    assert encode(learnt(numbers, 0), numbers).shape[2] == numbers.shape[1]


def test_codes_stand_between_the_numbers_and_the_levels() -> None:
    numbers = numbers_of()
    levels = (np.arange(ROWS) % 3)[:, None]
    statistics = learn(PREPROCESSING, array_design(numbers, levels, [WORDS]), FOLDS, bins=4)
    encoder = Encoder(statistics, [WORDS], PREPROCESSING, torch.float64)
    encoded = encoder(torch.from_numpy(numbers)[None], torch.from_numpy(levels)[None]).numpy()
    plain = encode(learnt(numbers, 4), numbers)
    assert encoder.width == plain.shape[2] + 3 == encoded.shape[2]
    assert np.array_equal(encoded[..., :-3], plain)
    assert np.array_equal(encoded[0, :, -3:], np.eye(3)[levels[:, 0]])


def test_a_table_of_words_alone_has_no_codes() -> None:
    levels = (np.arange(ROWS) % 3)[:, None]
    design = array_design(codes=levels, vocabularies=[WORDS])
    statistics = learn(PREPROCESSING, design, FOLDS, bins=4)
    encoder = Encoder(statistics, [WORDS], PREPROCESSING, torch.float64)
    encoded = encoder(torch.empty(1, ROWS, 0, dtype=torch.float64), torch.from_numpy(levels)[None])
    assert encoded.shape == (len(FOLDS), ROWS, 3)


def test_the_largest_numbers_have_finite_codes() -> None:
    """As they have with every scaling."""
    numbers = numbers_of()
    numbers[:, 0] = np.linspace(-1, 1, ROWS) * np.finfo(np.float64).max
    encoded = encode(learnt(numbers, 4), numbers)
    assert np.isfinite(encoded).all()


@pytest.mark.parametrize("factor", [1e-46, 1e40])
def test_numbers_that_float32_does_not_hold_have_the_codes_of_others(factor: float) -> None:
    numbers = numbers_of()
    scaled = numbers * factor
    statistics = learnt(scaled, 4)
    encoder = Encoder(statistics, [], PREPROCESSING, torch.float32)
    none = torch.empty(1, len(numbers), 0, dtype=torch.int64)
    codes = encoder(torch.from_numpy(scaled).unsqueeze(0), none).numpy()[:, :, numbers.shape[1] :]
    expected = encode(learnt(numbers, 4), numbers)[:, :, numbers.shape[1] :]
    np.testing.assert_allclose(codes, expected, rtol=0, atol=1e-6)
