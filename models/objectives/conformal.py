"""Quantiles of conformal prediction, with numpy only.

Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World": of the scores of n rows
that a model did not see, the ⌈(n + 1)·c⌉-th smallest bounds that of a new row with probability c or
more. A calibration keeps the number of "rows" and the upper "scores", ascending, with their "ranks"
from 1.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Any

import numpy as np

# The smallest coverage that is asked for.
LOWEST_COVERAGE = 0.5
# Scores kept of a larger table; a rank between two uses the larger one.
MOST_SCORES = 2_000


def upper_scores(scores: np.ndarray) -> dict[str, Any]:
    """The calibration of all n ≥ 1 scores, in any order."""
    lowest = min(max(1, rank(len(scores), LOWEST_COVERAGE)), len(scores))
    count = min(MOST_SCORES, len(scores) - lowest + 1)
    ranks = np.linspace(lowest, len(scores), count).round().astype(int)
    return {
        "rows": len(scores),
        "ranks": ranks.tolist(),
        "scores": np.sort(scores)[ranks - 1].tolist(),
    }


def bound(calibration: dict[str, Any], coverage: float) -> float:
    """The score that a new row's stays within with probability `coverage`; inf if the rows are too
    few."""
    place = bisect_left(calibration["ranks"], rank(calibration["rows"], coverage))
    scores = calibration["scores"]
    return float(scores[place]) if place < len(scores) else math.inf


def rank(rows: int, coverage: float) -> int:
    """⌈(n + 1)·c⌉, from 1."""
    return math.ceil((rows + 1) * coverage - 1e-9)
