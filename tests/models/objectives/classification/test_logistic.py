"""Logistic regression as a linear model's start and as a baseline."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from models.objectives.baselines import Cells
from models.objectives.classification import logistic
from models.objectives.classification.baselines import LogisticBaseline, MajorityBaseline
from models.objectives.classification.logistic import solve
from models.objectives.classification.metrics import log_losses
from models.objectives.learning import LinearProblem


def drawn(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(rows, 4))
    odds = x @ chance.normal(size=(4, classes))
    return x, (odds + chance.gumbel(size=odds.shape)).argmax(1).astype(float)


def problem(x: np.ndarray, y: np.ndarray, classes: int) -> LinearProblem:
    """In two chunks."""
    halves = np.array_split(x, 2)
    return LinearProblem(y, x.shape[1], classes, len(halves), halves.__getitem__)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_the_line_is_scikit_learn_s(classes: int) -> None:
    x, y = drawn(200, classes)
    weights, biases = solve(problem(x, y, classes))
    assert (weights.shape, biases.shape) == ((4, classes), (classes,))
    expected = LogisticRegression(max_iter=200).fit(x, y).predict_proba(x)
    np.testing.assert_allclose(softmax(x @ weights + biases, 1), expected, atol=1e-9)


@pytest.mark.parametrize(("classes", "missing"), [(3, 1), (4, 0)])
def test_a_class_without_rows_starts_as_improbable_as_the_rarest(
    classes: int, missing: int
) -> None:
    x, y = drawn(200, classes)
    kept = y != missing
    weights, biases = solve(problem(x[kept], y[kept], classes))
    assert np.isfinite(weights).all()
    assert np.isfinite(biases).all()
    assert not weights[:, missing].any()
    assert biases[missing] == biases.min()
    others = [place for place in range(classes) if place != missing]
    found = softmax(x[kept] @ weights[:, others] + biases[others], 1)
    expected = LogisticRegression(max_iter=200).fit(x[kept], y[kept]).predict_proba(x[kept])
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_rows_of_a_single_class_have_a_line() -> None:
    """A fold of `group` or `time` folds may train on one."""
    x, _ = drawn(20, 3)
    weights, biases = solve(problem(x, np.ones(20), 3))
    assert (weights.shape, biases.shape) == ((4, 3), (3,))
    assert not weights.any()
    assert not biases.any()


def test_a_large_problem_starts_at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = drawn(100, 3)
    monkeypatch.setattr(logistic, "MOST_PRODUCTS", 100 * 4 * 3 - 1)
    weights, biases = solve(problem(x, y, 3))
    assert (weights.shape, biases.shape) == ((4, 3), (3,))
    assert not weights.any()
    assert not biases.any()


def cells(x: np.ndarray) -> Cells:
    return Cells(x, np.empty((len(x), 0), np.int64), (), lambda: x)


def test_the_baseline_predicts_like_the_best_strength() -> None:
    """Weak signals among many columns need a strong penalty."""
    chance = np.random.default_rng(0)
    x, y = drawn(150, 2)
    noisy = np.column_stack([x, chance.normal(size=(150, 60))])
    seen, asked = noisy[:100], noisy[100:]
    found = LogisticBaseline(2).predict(cells(seen), y[:100], cells(asked), seed=0)
    assert found.shape == (50, 2)
    np.testing.assert_allclose(found.sum(1), 1)
    weak = LogisticRegression(C=10.0, max_iter=1_000).fit(seen, y[:100]).predict_proba(asked)
    assert log_losses(y[100:], found).mean() < log_losses(y[100:], weak).mean()


@pytest.mark.parametrize("baseline", [LogisticBaseline, MajorityBaseline])
def test_a_class_without_rows_gets_part_of_a_row_s_share(
    baseline: type[LogisticBaseline | MajorityBaseline],
) -> None:
    """A row of it to score would otherwise have a log loss of hundreds."""
    x, y = drawn(100, 3)
    kept = y != 1
    found = baseline(3).predict(cells(x[kept]), y[kept], cells(x[:5]), seed=0)
    assert found.shape == (5, 3)
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_allclose(found[:, 1], 0.5 / kept.sum(), rtol=0.05)


@pytest.mark.parametrize("baseline", [LogisticBaseline, MajorityBaseline])
def test_rows_of_a_single_class_make_it_nearly_sure(
    baseline: type[LogisticBaseline | MajorityBaseline],
) -> None:
    x, _ = drawn(30, 2)
    found = baseline(2).predict(cells(x), np.ones(30), cells(x[:3]), seed=0)
    assert (found[:, 1] > 0.95).all()
    assert (found[:, 1] < 1).all()


def test_the_majority_is_the_shares_of_the_training_rows() -> None:
    x, _ = drawn(800, 2)
    found = MajorityBaseline(2).predict(
        cells(x), np.repeat([0.0, 1.0], [500, 300]), cells(x[:2]), seed=0
    )
    np.testing.assert_allclose(found, [[0.625, 0.375]] * 2, atol=1e-3)
