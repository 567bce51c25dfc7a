"""Shapley values against what is known of them."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest

from models.serving.explain import explain
from models.serving.reference import Background


def background(rows: int, seed: int = 0) -> Background:
    chance = np.random.default_rng(seed)
    return Background.of(chance.normal(size=(rows, 3)), chance.integers(0, 4, (rows, 1)), chance)


def interacting(numbers: np.ndarray, codes: np.ndarray) -> np.ndarray:
    a, b, _ = np.nan_to_num(numbers).T
    return a * b + np.where(codes[:, 0] == 2, 10 * a, 1.0)


def exact(known: Background, goal: np.ndarray) -> np.ndarray:
    """The definition: over all subsets of the other columns."""
    back = np.concatenate(known.arrays(), axis=1)
    columns = len(goal)

    def worth(subset: tuple[int, ...]) -> float:
        rows = back.copy()
        rows[:, list(subset)] = goal[list(subset)]
        return float(interacting(rows[:, :3], rows[:, 3:].astype(np.int64)).mean())

    values = np.zeros(columns)
    for column in range(columns):
        others = [other for other in range(columns) if other != column]
        for size in range(columns):
            weight = factorial(size) * factorial(columns - size - 1) / factorial(columns)
            for subset in combinations(others, size):
                values[column] += weight * (worth((*subset, column)) - worth(subset))
    return values


GOAL = np.array([1.5, -2.0, np.nan, 2.0])


def test_contributions_sum_to_what_is_to_be_explained() -> None:
    known = background(64)
    found = explain(interacting, known, GOAL[:3], GOAL[3:].astype(np.int64))
    base = interacting(*known.arrays()).mean()
    value = interacting(GOAL[None, :3], GOAL[None, 3:].astype(np.int64))[0]
    assert found.base == pytest.approx(base)
    assert found.base + found.contributions.sum() == pytest.approx(value)


def test_they_come_near_the_definition() -> None:
    known = background(64)
    found = explain(interacting, known, GOAL[:3], GOAL[3:].astype(np.int64))
    np.testing.assert_allclose(found.contributions, exact(known, GOAL), atol=0.7)
    assert found.contributions[2] == 0  # it has no say


def test_a_sum_is_explained_exactly() -> None:
    known = background(10)
    weights = np.array([3.0, -1.0, 0.5])

    def linear(numbers: np.ndarray, codes: np.ndarray) -> np.ndarray:
        return numbers @ weights + 2 * codes[:, 0]

    goal, code = np.array([1.0, 2.0, 3.0]), np.array([3])
    numbers, codes = known.arrays()
    expected = [*weights * (goal - numbers.mean(0)), 2 * (3 - codes.mean())]
    np.testing.assert_allclose(explain(linear, known, goal, code).contributions, expected)


def test_a_row_is_explained_alike_each_time() -> None:
    known = background(20)
    once, again = (explain(interacting, known, GOAL[:3], np.array([2])) for _ in range(2))
    np.testing.assert_array_equal(once.contributions, again.contributions)
