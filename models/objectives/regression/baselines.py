"""Baselines of a number. They learn and predict it as the networks do, as its logarithm or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from models.objectives.base import Vector
from models.objectives.baselines import Cells, boosted, boosting_seconds
from models.objectives.regression.intervals import transformed
from models.objectives.regression.leave_one_out import best_line, line_seconds
from models.objectives.regression.scale import MARGIN
from models.spec import TargetTransform


class _OfNumbers(ABC):
    is_encoded: ClassVar[bool] = False

    def __init__(self, transform: TargetTransform) -> None:
        self._transform = transform

    def predict(self, known: Cells, y: Vector, asked: Cells, seed: int) -> Vector:
        learnt = transformed(y, self._transform)
        found = self._predict(known, learnt, asked, seed)
        if self._transform == "none":
            return found
        # A line leads from one wild cell to more than any number.
        low, high = learnt.min(), learnt.max()
        room = MARGIN * (high - low)
        return np.exp(np.clip(found, low - room, high + room))

    @abstractmethod
    def _predict(self, known: Cells, y: Vector, asked: Cells, seed: int) -> Vector:
        """On the scale that is learnt."""


class MeanBaseline(_OfNumbers):
    """The mean of the training rows; of a target that is learnt as its logarithm, the geometric
    mean."""

    def _predict(self, known: Cells, y: Vector, asked: Cells, seed: int) -> Vector:  # noqa: ARG002
        return np.full(len(asked.numbers), y.mean())

    def seconds(self, rows: int, columns: int, inputs: int, outputs: int) -> float:  # noqa: ARG002
        return 0.0


class RidgeBaseline(_OfNumbers):
    """Ridge regression whose penalty has the lowest error on training rows left out one at a
    time."""

    is_encoded = True

    def _predict(self, known: Cells, y: Vector, asked: Cells, seed: int) -> Vector:  # noqa: ARG002
        line = best_line(known.encoded, y)
        found: Vector = asked.encoded @ line.weight + line.bias
        return found

    def seconds(self, rows: int, columns: int, inputs: int, outputs: int) -> float:  # noqa: ARG002
        return line_seconds(rows, inputs)


class BoostingBaseline(_OfNumbers):
    """scikit-learn's histogram gradient boosting."""

    def _predict(self, known: Cells, y: Vector, asked: Cells, seed: int) -> Vector:
        # Standardised, because the library's own bounds are absolute.
        middle, size = y.mean(), y.std() or 1.0
        trees = boosted(HistGradientBoostingRegressor, known, (y - middle) / size, seed)
        found: Vector = trees.predict(asked.columns) * size + middle
        return found

    def seconds(self, rows: int, columns: int, inputs: int, outputs: int) -> float:  # noqa: ARG002
        return boosting_seconds(rows, columns, outputs)
