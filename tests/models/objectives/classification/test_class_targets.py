"""What folds learn about classes: weights, priors, and outputs as probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.utils.class_weight import compute_sample_weight

from models.objectives.classification.probabilities import ClassTarget
from models.spec import TrainingSpec

LEVELS = ("a", "b", "c")
FOLDS = [np.array([0.0, 0, 0, 0, 1, 1, 2]), np.array([0.0, 1, 1, 1])]  # the second lacks a class


def target_of(levels: tuple[str, ...] = LEVELS, **spec: Any) -> ClassTarget:
    resolved = {"target": "state", "loss": "cross_entropy"} | spec
    folds = [np.minimum(rows, len(levels) - 1) for rows in FOLDS]
    return ClassTarget(folds, levels, TrainingSpec.model_validate(resolved))


def outputs_of(members: int = 2, rows: int = 5, classes: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(members, rows, classes, generator=generator, dtype=torch.float64)


def test_balanced_weights_are_scikit_learn_s() -> None:
    """Each fold's come from its own training rows."""
    target = target_of(class_weights="balanced")
    rows = torch.tensor(np.stack([FOLDS[0][:4], FOLDS[1]]))
    found = target.row_weights(rows)
    assert found is not None
    for place, own in enumerate(FOLDS):
        expected = compute_sample_weight("balanced", own)
        np.testing.assert_allclose(found[place], expected[:4])
        assert target.weights[place].numpy()[own.astype(int)].mean() == pytest.approx(1)
    assert target.weights[1, 2] == 0  # which no training row of the fold has


def test_given_weights_have_a_mean_of_one_over_the_training_rows() -> None:
    target = target_of(class_weights={"b": 4.0})
    for place, own in enumerate(FOLDS):
        weights = target.weights[place].numpy()
        assert weights[1] / weights[0] == pytest.approx(4)
        assert weights[own.astype(int)].mean() == pytest.approx(1)


def test_without_weights_rows_weigh_the_same() -> None:
    assert target_of().row_weights(torch.zeros(2, 3)) is None


def test_outputs_become_probabilities_by_member() -> None:
    outputs, target = outputs_of(), target_of()
    target.temperature = torch.tensor([[0.5], [2.0]], dtype=torch.float64)
    expected = softmax(outputs.numpy() / np.array([0.5, 2.0])[:, None, None], axis=-1)
    np.testing.assert_allclose(target.restore(outputs), expected)
    second = target.restore(outputs[1:], slice(1, 2))
    np.testing.assert_allclose(second, expected[1:])


def test_a_monotone_function_of_the_second_class_follows() -> None:
    target, outputs = target_of(("no", "yes")), outputs_of(classes=2, rows=400)
    knots = np.array([[0.0, 0.2, 0.7, 1.0]] * 2)
    heights = np.array([[0.05, 0.1, 0.1, 0.9], [0.0, 0.5, 0.8, 0.8]])
    target.knots, target.heights = torch.from_numpy(knots), torch.from_numpy(heights)
    plain = softmax(outputs.numpy(), axis=-1)[..., 1]
    expected = np.stack([np.interp(plain[f], knots[f], heights[f]) for f in range(2)])
    found = target.restore(outputs).numpy()
    np.testing.assert_allclose(found[..., 1], expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(-1), 1)
    only = target.restore(outputs[1:], slice(1, 2)).numpy()
    np.testing.assert_allclose(only[0], found[1])


def test_outputs_that_overflow_give_the_shares_of_the_training_rows() -> None:
    """No class has a share of 0."""
    target, outputs = target_of(), outputs_of()
    outputs[1, 2] = torch.nan
    outputs[0, 3] = torch.inf
    found = target.restore(outputs)
    assert torch.isfinite(found).all()
    np.testing.assert_allclose(found.sum(-1), 1)
    np.testing.assert_allclose(found[1, 2], np.array([1.5, 3.5, 0.5]) / 5.5)
    np.testing.assert_allclose(found[0, 3], np.array([4.5, 2.5, 1.5]) / 8.5)


def test_errors_and_distances() -> None:
    target = target_of()
    one, other = np.array([[0.2, 0.5, 0.3]]), np.array([[0.25, 0.5, 0.25]])
    assert target.row_errors(np.array([1.0]), one) == pytest.approx(np.log(2))
    assert target.apart(one, other) == pytest.approx(0.05)
    assert np.isnan(target.apart(one, np.full((1, 3), np.nan))).all()


@pytest.mark.parametrize(("loss", "margins"), [("cross_entropy", False), ("hinge", True)])
def test_margins_are_no_log_odds(loss: str, margins: bool) -> None:
    target = target_of(loss=loss)
    assert target.has_margins == margins
    assert (target.scale == 1) != margins


def test_the_positive_class_is_that_of_the_spec_or_the_rarer_one() -> None:
    assert target_of(("no", "yes")).positive == 1
    assert target_of(("no", "yes"), decision={"positive": "no"}).positive == 0
    assert target_of(("cat", "dog")).positive == 0  # 5 rows of 11, against 6
    assert target_of().positive is None
