"""Sets of classes: their scores, their coverage, and the random share of a row."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, kstest

from models.objectives.classification.learning import _set_calibration
from models.objectives.classification.sets import (
    bounds,
    chance,
    decided,
    joined,
    listed,
    members,
    scores,
)
from models.objectives.conformal import bound, rank

LEVELS = ("a", "b", "c", "d")


def drawn(rows: int, seed: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities (n, C), true classes that follow them, and random shares (n,)."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(classes, 0.6), rows)
    draws = generator.uniform(size=(rows, 1))
    actual = (draws > np.cumsum(probabilities, axis=1)).sum(1).clip(max=classes - 1)
    return probabilities, actual, generator.uniform(size=rows)


# Scores.


def test_a_score_is_the_probability_above_and_a_share_of_the_class_s_own() -> None:
    probabilities, _, shares = drawn(50, 0)
    found = scores(probabilities, shares)
    for row, share, own in zip(probabilities, shares, found, strict=True):
        for place, probability in enumerate(row):
            above = sum(other for other in row if other > probability)
            assert own[place] == pytest.approx(above + share * probability)


def test_of_equal_classes_the_first_is_above() -> None:
    found = scores(np.array([[0.25, 0.5, 0.25]]), np.array([0.2]))
    np.testing.assert_allclose(found, [[0.55, 0.1, 0.8]])


def test_scores_of_true_classes_are_uniform_if_probabilities_are_right() -> None:
    probabilities, actual, shares = drawn(20_000, 1)
    own = np.take_along_axis(scores(probabilities, shares), actual[:, None], 1)[:, 0]
    assert kstest(own, "uniform").pvalue > 0.01


# Bounds.


def test_classes_have_bounds_of_their_own() -> None:
    probabilities, actual, shares = drawn(4_000, 3)
    own = np.take_along_axis(scores(probabilities, shares), actual[:, None], 1)[:, 0]
    known = _set_calibration(own, actual, LEVELS).model_dump()
    found = bounds(known, LEVELS, 0.8, by_class=True)
    for place in range(4):
        ranked = np.sort(own[actual == place])
        assert found[place] == ranked[rank(len(ranked), 0.8) - 1]
    assert set(bounds(known, LEVELS, 0.8, by_class=False)) == {bound(known, 0.8)}


def test_a_rare_class_has_no_bound_of_its_own() -> None:
    actual = np.repeat([0, 1], [100, 49])
    own = np.random.default_rng(0).uniform(size=149)
    assert _set_calibration(own, actual, ("a", "b")).by_class == {}
    assert [*_set_calibration(np.append(own, 0.5), np.append(actual, 1), ("a", "b")).by_class] == [
        "a",
        "b",
    ]


# Coverage.


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("sharpness", [1.0, 4.0])
def test_sets_contain_the_truth_as_often_as_requested(coverage: float, sharpness: float) -> None:
    """Also those of a model that is far too sure. Both the bound and the rows are random: together
    like as many coin tosses as half of the rows."""
    rows = 10_000
    probabilities, actual, shares = drawn(2 * rows, 7)
    claimed = probabilities**sharpness
    claimed /= claimed.sum(1, keepdims=True)
    seen, unseen = slice(rows), slice(rows, None)
    own = np.take_along_axis(scores(claimed, shares), actual[:, None], 1)[:, 0]
    known = _set_calibration(own[seen], actual[seen], LEVELS).model_dump()
    largest = bounds(known, LEVELS, coverage, by_class=False)
    inside = members(claimed[unseen], shares[unseen], largest)
    hits = int(inside[np.arange(rows), actual[unseen]].sum())
    low, high = binom(rows // 2, coverage).ppf([0.001, 0.999]) / (rows // 2)
    assert low <= hits / rows <= high

    each = members(claimed[unseen], shares[unseen], bounds(known, LEVELS, coverage, by_class=True))
    for place in range(4):
        own_rows = actual[unseen] == place
        count = int(own_rows.sum())
        low, high = binom(count // 2, coverage).ppf([0.001, 0.999]) / (count // 2)
        assert low <= each[own_rows, place].mean() <= high


# The random share.


def rows_of(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    numbers = generator.normal(size=(count, 3))
    numbers[::7, 1] = np.nan
    return numbers, generator.integers(0, 5, (count, 2))


def test_the_share_of_a_row_repeats() -> None:
    """In any batch, with any bits of NaN, and for 0 as for −0."""
    numbers, codes = rows_of(300)
    whole = chance(numbers, codes)
    for row in (0, 7, 299):
        np.testing.assert_array_equal(chance(numbers[[row]], codes[[row]]), whole[[row]])
    order = np.random.default_rng(1).permutation(300)
    np.testing.assert_array_equal(chance(numbers[order], codes[order]), whole[order])
    fortran = chance(np.asfortranarray(numbers), np.asfortranarray(codes))
    np.testing.assert_array_equal(fortran, whole)
    odd = np.array([[-np.nan, -0.0, 1.0], [np.nan, 0.0, 1.0]])
    odd[0, 0] = np.array([0xFFF8000000000001], np.uint64).view(np.float64)[0]
    first, second = chance(odd, np.zeros((2, 1), np.int64))
    assert first == second


def test_shares_are_uniform() -> None:
    whole = chance(*rows_of(20_000))
    assert 0 < whole.min()
    assert whole.max() < 1
    assert kstest(whole, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("column", [0, 1])
def test_shares_of_whole_numbers_and_codes_are_uniform(column: int) -> None:
    """Rows that differ little, in one column of numbers or of codes."""
    numbers, codes = np.zeros((5_000, 2)), np.zeros((5_000, 2), np.int64)
    numbers[:, column] = np.arange(5_000)
    by_number = chance(numbers, codes)
    codes[:, column] = np.arange(5_000)
    by_code = chance(np.zeros((5_000, 2)), codes)
    for found in (by_number, by_code):
        assert len(np.unique(found)) == 5_000
        assert kstest(found, "uniform").pvalue > 1e-3
        assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 0.05


def test_every_cell_counts_and_its_column() -> None:
    numbers, codes = np.array([[1.0, 2.0, 3.0]]), np.array([[1, 2]])
    own = chance(numbers, codes)
    others = [
        chance(numbers[:, [1, 0, 2]], codes),
        chance(numbers, codes[:, ::-1]),
        chance(numbers + np.array([0, 0, 1e-9]), codes),
        chance(numbers, codes + np.array([0, 1])),
    ]
    assert len({float(found[0]) for found in (own, *others)}) == 5


def test_a_table_of_one_kind_of_column_has_shares() -> None:
    numbers, codes = rows_of(10)
    assert len(np.unique(chance(numbers, np.empty((10, 0), np.int64)))) == 10
    assert chance(np.empty((10, 0)), codes).shape == (10,)


# Writing.


def test_classes_of_a_set_are_listed_by_probability() -> None:
    row = np.array([0.1, 0.4, 0.1, 0.4])
    assert listed(row, np.array([True, True, False, True]), LEVELS) == ["b", "d", "a"]
    assert listed(row, np.zeros(4, bool), LEVELS) == []


def test_a_joined_set_can_be_taken_apart() -> None:
    assert joined(["yes", "a|b", "c\\d"]) == "yes|a\\|b|c\\\\d"
    assert joined([]) == ""


def test_the_positive_class_is_decided_from_its_threshold_on() -> None:
    probabilities = np.array([[0.7, 0.3], [0.71, 0.29], [0.2, 0.8]])
    assert decided(probabilities, 1, 0.3).tolist() == [1, 0, 1]
    assert decided(probabilities, 0, 0.7).tolist() == [0, 0, 1]
    assert decided(probabilities, 1, np.array([0.31, 0.2, 0.9])).tolist() == [0, 1, 0]
    assert decided(np.array([[0.2, 0.4, 0.4], [0.5, 0.3, 0.2]]), None, 0.5).tolist() == [1, 0]
