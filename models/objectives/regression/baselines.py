"""Baselines of a number. They learn and predict it as the networks do, as its logarithm or not."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from models.objectives.base import Vector
from models.objectives.baselines import Cells, boosted, boosting_seconds
from models.objectives.regression.intervals import transformed
from models.objectives.regression.leave_one_out import best_line, line_seconds
from models.spec import TargetTransform


class _OfNumbers(ABC):
    def __init__(self, transform: TargetTransform) -> None:
        self._transform = transform

    def predict(self, known: Cells, y: Vector, asked: Cells, seed: int) -> Vector:
        found = self._predict(known, transformed(y, self._transform), asked, seed)
        return np.exp(found) if self._transform == "log" else found

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

    def _predict(self, known: Cells, y: Vector, asked: Cells, seed: int) -> Vector:  # noqa: ARG002
        line = best_line(known.encoded, y)
        found: Vector = asked.encoded @ line.weight + line.bias
        return found

    def seconds(self, rows: int, columns: int, inputs: int, outputs: int) -> float:  # noqa: ARG002
        return line_seconds(rows, inputs)


class BoostingBaseline(_OfNumbers):
    """scikit-learn's histogram gradient boosting."""

    def _predict(self, known: Cells, y: Vector, asked: Cells, seed: int) -> Vector:
        trees = boosted(HistGradientBoostingRegressor, known, y, seed)
        found: Vector = trees.predict(asked.columns)
        return found

    def seconds(self, rows: int, columns: int, inputs: int, outputs: int) -> float:  # noqa: ARG002
        return boosting_seconds(rows, columns, outputs)
