"""Why a price is what it is: Shapley values (Štrumbelj and Kononenko 2014, doi
10.1007/s10115-013-0679-x), sampled by permutations over a background of training rows.

For each of B background rows the columns in which it differs from the row to explain are changed
into that row's, one after the other, in a random order and in its reverse: what a column adds is
the mean of what its change adds. The contributions sum to the price minus the mean price of the
background, exactly. It costs up to 2·B·(number of columns) prices a row; B is 64, and less where
the columns are many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.data.design import Codes, Numbers
from models.serving.reference import Background, Vector

MOST_PRICES = 12_000  # of one row's explanation, about
LEAST_ROWS, MOST_STARTS = 4, 64  # of the background
SEED = 0  # the same row is explained alike each time

Price = Callable[[Numbers, Codes], Vector]


@dataclass(frozen=True)
class Explanation:
    """`base`: the mean price of the background; contributions (D + C,) in the order of numbers,
    then codes, on the target's own scale."""

    base: float
    contributions: Vector


def prices_of_explanation(columns: int) -> int:
    """How many rows are priced for the explanation of one, at most."""
    return 2 * _starts(columns) * (columns + 1)


def _starts(columns: int) -> int:
    """Rows of the background that are taken."""
    return min(MOST_STARTS, max(LEAST_ROWS, MOST_PRICES // (2 * columns)))


def explain(price: Price, background: Background, numbers: Numbers, codes: Codes) -> Explanation:
    """Explain one row, numbers (D,) and codes (C,)."""
    chance = np.random.default_rng(SEED)
    back_numbers, back_codes = background.arrays()
    split = len(numbers)
    # float64 holds every code.
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
            # Row r has the goal's cell where the column is among the first r to be changed.
            path = np.where(np.arange(len(steps) + 1)[:, None] > changed, goal, start)
            walk = price(path[:, :split], path[:, split:].astype(np.int64))
            contributions[steps] += np.diff(walk)
            base += walk[0]
    orders = 2 * len(starts)
    return Explanation(float(base / orders), contributions / orders)
