"""Explains predictions by Shapley values (Štrumbelj and Kononenko 2014, doi
10.1007/s10115-013-0679-x), sampled by permutations over a background of training rows.

For each of B background rows, the columns in which it differs from the explained row are changed to
that row's cells, one at a time, in a random order and in its reverse. A column's contribution is
the mean change of the prediction when the column changes. The contributions add up exactly to the
prediction minus the background's mean prediction. One explanation needs up to 2·B·(number of
columns) predictions. B is 64, or less with many columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.data.design import Codes, Numbers
from models.serving.reference import Background, Vector

MOST_PREDICTIONS = 12_000  # for one row's explanation, about
LEAST_ROWS, MOST_STARTS = 4, 64  # background rows
SEED = 0  # a row gets the same explanation each time

Predict = Callable[[Numbers, Codes], Vector]


@dataclass(frozen=True)
class Explanation:
    """`base`: the background's mean prediction. contributions (D + C,): in the order of numbers,
    then codes, on the target's own scale, or in log-odds of the class `level`."""

    base: float
    contributions: Vector
    level: str | None = None


def predictions_per_explanation(columns: int) -> int:
    """The most rows that are predicted to explain one."""
    return 2 * _starts(columns) * (columns + 1)


def _starts(columns: int) -> int:
    """Number of background rows that are used."""
    return min(MOST_STARTS, max(LEAST_ROWS, MOST_PREDICTIONS // (2 * columns)))


def explain(
    predict: Predict,
    background: Background,
    numbers: Numbers,
    codes: Codes,
    level: str | None = None,
) -> Explanation:
    """Explain one row, numbers (D,) and codes (C,); `level`: the class of the predicted number."""
    chance = np.random.default_rng(SEED)
    back_numbers, back_codes = background.arrays()
    split = len(numbers)
    # Codes are exact in float64.
    goal = np.concatenate([numbers, codes])
    starts = np.concatenate([back_numbers, back_codes], axis=1)
    starts = starts[: _starts(len(goal))]
    contributions, base = np.zeros(len(goal)), 0.0
    for start in starts:
        same = (start == goal) | (np.isnan(start) & np.isnan(goal))
        order = chance.permutation(np.flatnonzero(~same))
        for steps in (order, order[::-1]):
            changed = np.full(len(goal), len(goal))
            changed[steps] = np.arange(len(steps))
            # Row r has the goal's cell in the first r columns of the order.
            path = np.where(np.arange(len(steps) + 1)[:, None] > changed, goal, start)
            walk = predict(path[:, :split], path[:, split:].astype(np.int64))
            contributions[steps] += np.diff(walk)
            base += walk[0]
    orders = 2 * len(starts)
    return Explanation(float(base / orders), contributions / orders, level)
