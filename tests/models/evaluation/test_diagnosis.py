"""Which findings follow from which numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from models.evaluation.diagnosis import diagnose
from models.training.progress import Course, Trouble


def healthy(**changes: Any) -> Course:
    course = Course(
        epochs=56,
        best_epoch=40,
        best_loss=0.1,
        stopped_by="early_stopping",
        first_loss=0.9,
        last_loss=0.08,
        largest_gradient=1.5,
        dead_units=0.1,
    )
    return replace(course, **changes)


def overflown() -> Course:
    trouble = Trouble(epoch=2, step=12, layer="the outputs of hidden.0")
    return healthy(stopped_by="non_finite", trouble=trouble)


GOOD: dict[str, Any] = {
    "train_r2": [0.92, 0.90, 0.91],
    "validation_r2": [0.88, 0.87, 0.86],
    "best_epochs": [40, 35, 50],
    "max_epochs": 100,
    "watched": True,
    "courses": [healthy()] * 3,
    "folds": 3,
    "parameters": 500,
    "train_rows": 1_000,
    "scored_rows": 200,
    "measured": "the target's variance",
}
TROUBLE: dict[str, dict[str, Any]] = {
    "overfitting": {"train_r2": [0.98, 0.99, 0.98]},
    "underfitting": {"train_r2": [0.3, 0.2, 0.3], "validation_r2": [0.2, 0.2, 0.25]},
    "stopped_too_soon": {"best_epochs": [99, 100, 50]},
    "numerical_trouble": {"courses": [healthy(), overflown(), healthy()]},
    "folds_disagree": {"validation_r2": [0.95, 0.95, 0.6]},
    "exploding_gradients": {"courses": [healthy(), healthy(largest_gradient=2e3), healthy()]},
    "vanishing_gradients": {"courses": [healthy(largest_gradient=1e-8)] * 3},
    "dead_units": {"courses": [healthy(dead_units=share) for share in (0.9, 0.8, 0.2)]},
    "saturated_units": {"courses": [healthy(dead_units=None, saturated_units=0.8)] * 3},
}


def codes(**numbers: Any) -> list[str]:
    return [finding["code"] for finding in diagnose(**(GOOD | numbers))]


def test_a_good_fit() -> None:
    assert codes() == ["good_fit"]


@pytest.mark.parametrize("code", TROUBLE)
def test_each_trouble_is_found_and_is_no_good_fit(code: str) -> None:
    assert codes(**TROUBLE[code]) == [code]


def test_many_weights_are_no_trouble_by_themselves() -> None:
    assert codes(parameters=1_001) == ["good_fit", "capacity_exceeds_data"]


def test_late_best_epochs_say_nothing_where_nothing_was_watched() -> None:
    """Without early stopping the last epoch is the best by definition."""
    assert codes(best_epochs=[100, 100, 100], watched=False) == ["good_fit"]


def test_a_perfect_fit_divides_by_nothing() -> None:
    assert codes(train_r2=[1.0] * 3, validation_r2=[1.0] * 3) == ["good_fit"]


def test_the_evidence_names_the_numbers() -> None:
    (finding,) = diagnose(**(GOOD | TROUBLE["numerical_trouble"]))
    assert "1 of 3 members" in finding["evidence"]
    assert "fold 1 at step 12 (epoch 2) in the outputs of hidden.0" in finding["evidence"]
    (finding,) = diagnose(**(GOOD | TROUBLE["stopped_too_soon"]))
    assert "2 of 3 folds" in finding["evidence"]
    assert "max_epochs" in finding["advice"]


@pytest.mark.parametrize("code", ["good_fit", "overfitting", "underfitting", "folds_disagree"])
def test_the_evidence_names_what_is_explained(code: str) -> None:
    numbers = GOOD | TROUBLE.get(code, {}) | {"measured": "the uncertainty about the class"}
    (finding,) = diagnose(**numbers)
    assert "the uncertainty about the class" in finding["evidence"]


def test_networks_that_are_worse_than_the_mean_are_in_trouble() -> None:
    wild: dict[str, Any] = {"train_r2": [-3.0] * 3, "validation_r2": [-3.1, -3.0, -3.2]}
    assert codes(**wild, courses=[healthy(last_loss=1e6)] * 3) == ["numerical_trouble"]
    assert codes(**wild, courses=[healthy(last_loss=1.2)] * 3) == ["underfitting"]


def test_a_member_that_failed_at_once_is_blamed_for_nothing_else() -> None:
    failed = replace(overflown(), best_epoch=0, largest_gradient=0.0)
    assert codes(courses=[healthy(), failed, healthy()]) == ["numerical_trouble"]


def test_folds_of_a_few_rows_cannot_disagree() -> None:
    assert codes(**TROUBLE["folds_disagree"], scored_rows=2) == ["good_fit"]


def test_a_loss_that_does_not_move() -> None:
    still = [healthy(first_loss=1.0003, last_loss=1.0001)] * 3
    found = codes(courses=still, train_r2=[0.0] * 3, validation_r2=[0.0] * 3)
    assert found == ["loss_does_not_move", "underfitting"]
    failed = [
        replace(course, stopped_by="non_finite", trouble=overflown().trouble) for course in still
    ]
    without = codes(courses=failed, train_r2=[0.0] * 3, validation_r2=[0.0] * 3)
    assert without == ["numerical_trouble"], "it moved too far, not too little"
    assert codes(courses=still) == ["good_fit"], "a fit from the first epoch on has nothing to move"
