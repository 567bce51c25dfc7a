"""Models that are as good for less, and the front of error and cost."""

from __future__ import annotations

import numpy as np

from models.evaluation.simplicity import as_good, front


def test_the_smallest_within_one_standard_error() -> None:
    assert as_good([0.0, 0.2, 0.1], [0.0, 0.1, 0.1], [90, 10, 20], 100) == 2
    assert as_good([0.0, 0.1, 0.1], [0.0, 0.1, 0.1], [90, 10, 20], 100) == 1


def test_less_than_half_as_large() -> None:
    assert as_good([0.0], [0.1], [50], 100) is None
    assert as_good([0.0], [0.1], [49], 100) == 0


def test_models_without_figures_are_passed_over() -> None:
    assert as_good([None, 0.0, 0.0], [0.1, None, 0.1], [1, 1, None], 100) is None
    assert as_good([np.nan, np.inf], [0.1, np.nan], [1, 1], 100) is None


def test_a_front_has_what_no_other_beats() -> None:
    errors, costs = [0.5, 0.3, 0.4, 0.3, 0.2], [1, 2, 3, 5, 9]
    assert front(errors, costs) == [0, 1, 4]


def test_of_equal_models_the_first_is_on_the_front() -> None:
    assert front([0.2, 0.2, 0.2], [4, 4, 5]) == [0]


def test_a_model_without_an_error_is_on_no_front() -> None:
    assert front([np.nan, 0.2, np.inf], [1, 2, 3]) == [1]
    assert front([], []) == []
