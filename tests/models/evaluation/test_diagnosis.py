"""Which findings follow from which numbers."""

from __future__ import annotations

from typing import Any

import pytest

from models.evaluation.diagnosis import diagnose

GOOD: dict[str, Any] = {
    "train_r2": [0.92, 0.90, 0.91],
    "validation_r2": [0.88, 0.87, 0.86],
    "best_epochs": [40, 35, 50],
    "max_epochs": 100,
    "watched": True,
    "stopped_by": ["early_stopping"] * 3,
    "parameters": 500,
    "train_rows": 1_000,
}
TROUBLE: dict[str, dict[str, Any]] = {
    "overfitting": {"train_r2": [0.98, 0.99, 0.98]},
    "underfitting": {"train_r2": [0.3, 0.2, 0.3], "validation_r2": [0.2, 0.2, 0.25]},
    "stopped_too_soon": {"best_epochs": [99, 100, 50]},
    "numerical_trouble": {"stopped_by": ["early_stopping", "non_finite", "early_stopping"]},
    "folds_disagree": {"validation_r2": [0.95, 0.95, 0.6]},
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
    assert "fold 1" in finding["evidence"]
    (finding,) = diagnose(**(GOOD | TROUBLE["stopped_too_soon"]))
    assert "2 of 3 folds" in finding["evidence"]
    assert "max_epochs" in finding["advice"]
