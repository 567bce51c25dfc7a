"""What baselines learn from, and boosted trees, which are one for every objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from models.objectives.base import Codes, Vector

# scikit-learn takes categories of up to so many levels; more are split as numbers.
MOST_LEVELS = 255
# Boosting's iterations, and the seconds of one: for each row and column, for each column, and at
# least. Fitted to runs of 200 to 20,000 rows on one core.
ITERATIONS = 100
CELL_SECONDS, COLUMN_SECONDS, LEAST_SECONDS = 2.5e-8, 8e-5, 1e-3


@dataclass(frozen=True)
class Cells:
    """Rows for a baseline.

    numbers : (n, D), NaN is missing
    codes : (n, C) levels of categorical columns; `levels` (C,) is how many there are of each
    """

    numbers: Vector
    codes: Codes
    levels: tuple[int, ...]
    encode: Callable[[], Vector]

    @cached_property
    def encoded(self) -> Vector:
        """(n, inputs) standardised numbers, without gaps, and an input for each level."""
        return self.encode()

    @cached_property
    def columns(self) -> Vector:
        """(n, D + C) numbers and codes, for trees."""
        return np.column_stack([self.numbers, self.codes])

    @property
    def categorical(self) -> NDArray[np.bool_]:
        """(D + C,) which columns trees split as categories."""
        few = [count <= MOST_LEVELS for count in self.levels]
        return np.array([False] * self.numbers.shape[1] + few, bool)


class Baseline(Protocol):
    """A simple model. `is_encoded`: whether it uses `Cells.encoded`."""

    is_encoded: ClassVar[bool]

    def predict(self, known: Cells, y: Vector, asked: Cells, seed: int) -> Vector:
        """Learn from n rows and their targets y (n,), and predict (m, …) of those asked for."""

    def seconds(self, rows: int, columns: int, inputs: int, outputs: int) -> float:
        """About how long it takes on one core to learn from so many rows."""


Trees = TypeVar("Trees", HistGradientBoostingRegressor, HistGradientBoostingClassifier)


def boosted(kind: type[Trees], known: Cells, y: Vector, seed: int) -> Trees:
    """scikit-learn's histogram gradient boosting with its defaults (Friedman 2001, doi
    10.1214/aos/1013203451)."""
    trees = kind(random_state=seed, categorical_features=known.categorical)
    return trees.fit(known.columns, y)


def boosting_seconds(rows: int, columns: int, outputs: int) -> float:
    """Of boosted trees on one core; three or more classes have trees of their own."""
    trees = ITERATIONS * (outputs if outputs > 2 else 1)
    return trees * (LEAST_SECONDS + columns * (COLUMN_SECONDS + CELL_SECONDS * rows))
