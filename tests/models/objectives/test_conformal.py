"""Quantiles of conformal prediction, from all scores or from those that are kept."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.objectives.conformal import MOST_SCORES, bound, rank, upper_scores


@pytest.mark.parametrize(
    ("rows", "coverage", "expected"), [(99, 0.9, 90), (9, 0.9, 9), (10, 0.9, 10), (8, 0.9, 9)]
)
def test_the_rank_is_that_of_split_conformal_prediction(
    rows: int, coverage: float, expected: int
) -> None:
    assert rank(rows, coverage) == expected


@pytest.mark.parametrize("rows", [1, 8, 9, 60, 500, 7_000])
def test_a_bound_is_the_ranked_score_of_all_rows(rows: int) -> None:
    own = np.random.default_rng(0).uniform(size=rows)
    known = upper_scores(own)
    assert len(known["scores"]) <= MOST_SCORES
    for coverage in (0.5, 0.8, 0.9, 0.95, 0.99):
        place = math.ceil((rows + 1) * coverage - 1e-9)
        found = bound(known, coverage)
        if place > rows:
            assert found == math.inf
        else:
            # Of more rows than are kept, the next kept one, which is a little larger.
            assert found >= np.sort(own)[place - 1]
            later = min(rows, place + math.ceil(rows / MOST_SCORES)) - 1
            assert found <= np.sort(own)[later]
