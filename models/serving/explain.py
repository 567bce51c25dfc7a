"""Why a price is what it is: Shapley values (Štrumbelj and Kononenko 2014, doi
10.1007/s10115-013-0679-x), sampled by permutations over a background of training rows.

For each of B background rows the columns in which it differs from the row to explain are changed
into that row's, one after the other, in a random order and in its reverse: what a column adds is
the mean of what its change adds. The contributions sum to the price minus the mean price of the
background, exactly. It costs up to 2·B·(number of columns) prices a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.data.design import Codes, Numbers
from models.serving.reference import Background, Vector

SEED = 0  # the same row is explained alike each time

Price = Callable[[Numbers, Codes], Vector]


@dataclass(frozen=True)
class Explanation:
    """`base`: the mean price of the background; contributions (D + C,) in the order of numbers,
    then codes, on the target's own scale."""

    base: float
    contributions: Vector


def explain(price: Price, background: Background, numbers: Numbers, codes: Codes) -> Explanation:
    """Explain one row, numbers (D,) and codes (C,)."""
    chance = np.random.default_rng(SEED)
    back_numbers, back_codes = background.arrays()
    split = len(numbers)
    # float64 holds every code.
    goal = np.concatenate([numbers, codes])
    starts = np.concatenate([back_numbers, back_codes], axis=1)
    paths, orders = [], []
    for start in starts:
        same = (start == goal) | (np.isnan(start) & np.isnan(goal))
        order = chance.permutation(np.flatnonzero(~same))
        for steps in (order, order[::-1]):
            path = np.tile(start, (len(steps) + 1, 1))
            for place, column in enumerate(steps, start=1):
                path[place:, column] = goal[column]
            paths.append(path)
            orders.append(steps)
    rows = np.concatenate(paths)
    prices = price(rows[:, :split], rows[:, split:].astype(np.int64))
    contributions = np.zeros(len(goal))
    base, at = 0.0, 0
    for steps in orders:
        walk = prices[at : at + len(steps) + 1]
        contributions[steps] += np.diff(walk)
        base += walk[0]
        at += len(walk)
    return Explanation(float(base / len(orders)), contributions / len(orders))
