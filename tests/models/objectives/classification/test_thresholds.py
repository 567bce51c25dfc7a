"""The threshold of two classes is the best one of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    matthews_corrcoef,
)

from models.objectives.classification.thresholds import best_threshold
from models.spec import Decision

Score = Callable[[np.ndarray, np.ndarray], float]
COSTS = {"false_positive": 1.0, "false_negative": 5.0}


def saved(actual: np.ndarray, said: np.ndarray) -> float:
    wrong = COSTS["false_positive"] * (said & ~actual) + COSTS["false_negative"] * (actual & ~said)
    return -float(wrong.sum())


SCORES: dict[Any, Score] = {
    "accuracy": accuracy_score,
    "balanced_accuracy": balanced_accuracy_score,
    "f1": lambda actual, said: f1_score(actual, said, average="macro"),
    "mcc": matthews_corrcoef,
    "costs": saved,
}


def decision(name: str) -> Decision:
    return Decision.model_validate({"threshold": COSTS if name == "costs" else name})


def drawn(rows: int, seed: int, digits: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Truths and probabilities that say something about them; rounded, some are equal."""
    chance = np.random.default_rng(seed)
    probability = chance.beta(1, 3, rows)
    actual = chance.uniform(size=rows) < np.sqrt(probability) * 0.8
    return actual, probability if digits is None else probability.round(digits)


def every_score(
    score: Score, actual: np.ndarray, probability: np.ndarray, step: int = 1
) -> list[float]:
    """From each distinct probability on, or every so many, and of no row."""
    starts = [*np.unique(probability)[::step], 2.0]
    return [score(actual, probability >= start) for start in starts]


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(("rows", "digits"), [(7, None), (60, None), (61, 1), (90, 2)])
def test_no_threshold_is_better(name: str, rows: int, digits: int | None) -> None:
    for seed in range(3):
        actual, probability = drawn(rows, seed, digits)
        found = best_threshold(decision(name), actual.astype(float), probability)
        best = max(every_score(SCORES[name], actual, probability))
        assert SCORES[name](actual, probability >= found) == pytest.approx(best, abs=1e-12)
        assert 0 < found < 1


@pytest.mark.parametrize("name", SCORES)
def test_of_many_rows_it_is_nearly_the_best(name: str) -> None:
    actual, probability = drawn(4_000, 0)
    found = best_threshold(decision(name), actual.astype(float), probability)
    scores = every_score(SCORES[name], actual, probability, step=50)
    span = max(scores) - min(scores)
    assert SCORES[name](actual, probability >= found) > max(scores) - 0.005 * span


def test_if_every_row_should_be_positive_all_are() -> None:
    """Missing one costs so much that the least probable one counts, too."""
    actual = np.array([1.0, 0, 0, 1])
    found = best_threshold(decision("costs"), actual, np.array([0.1, 0.2, 0.3, 0.4]))
    assert found <= 0.1


def test_of_equal_thresholds_the_nearest_to_a_half_is_taken() -> None:
    actual = np.array([0.0, 0, 1, 1])
    separated = np.array([0.1, 0.2, 0.8, 0.9])
    assert best_threshold(decision("f1"), actual, separated) == 0.5
    low = best_threshold(decision("f1"), actual, separated / 4)
    assert 0.05 < low < 0.2
    assert low > 0.12  # as near to a half as it can be, between 0.05 and 0.2


def test_no_row_lies_on_it() -> None:
    """So that rounding moves none."""
    for name in SCORES:
        actual, probability = drawn(200, 3)
        found = best_threshold(decision(name), actual.astype(float), probability)
        assert np.abs(probability - found).min() > 0


def test_a_number_of_the_user_s_stays() -> None:
    actual, probability = drawn(50, 0)
    assert best_threshold(Decision(threshold=0.123), actual.astype(float), probability) == 0.123


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_rows_of_a_single_class_have_a_threshold(name: str, truth: float) -> None:
    actual = np.full(20, truth)
    found = best_threshold(decision(name), actual, np.linspace(0.2, 0.7, 20))
    assert 0 < found < 1


def test_equal_probabilities_have_a_threshold() -> None:
    for name in SCORES:
        assert 0 < best_threshold(decision(name), np.array([0.0, 1, 0]), np.full(3, 0.3)) < 1
