"""Baselines of classes; each predicts probabilities (m, classes)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from models.objectives.base import Vector
from models.objectives.baselines import Cells, boosted, boosting_seconds
from models.objectives.classification.logistic import logistic
from models.objectives.classification.metrics import log_losses
from models.objectives.classification.probabilities import SMOOTHING

# Inverse strengths of the L2 penalty to choose from, on a part of the rows.
STRENGTHS = (0.01, 0.1, 1.0, 10.0)
CHOOSING = 0.2
# Seconds for one product on one core, over all iterations; measured.
PRODUCT_SECONDS = 3e-8


class _OfClasses:
    is_encoded: ClassVar[bool] = False

    def __init__(self, classes: int) -> None:
        self._classes = classes

    def _shares(self, y: Vector, asked: int) -> tuple[Vector, Vector]:
        """(m, classes) to fill, in which a class that no row has gets a part of a row's share, and
        the classes that rows have."""
        seen = np.unique(y).astype(int)
        found = np.full((asked, self._classes), SMOOTHING / len(y))
        found[:, seen] = 1
        return found, seen


class MajorityBaseline(_OfClasses):
    """The classes' shares of the training rows, none of them 0: always the largest class."""

    def predict(self, known: Cells, y: Vector, asked: Cells, seed: int) -> Vector:  # noqa: ARG002
        rows = np.bincount(y.astype(int), minlength=self._classes) + SMOOTHING
        return np.tile(rows / rows.sum(), (len(asked.numbers), 1))

    def seconds(self, rows: int, columns: int, inputs: int, outputs: int) -> float:  # noqa: ARG002
        return 0.0


class LogisticBaseline(_OfClasses):
    """Logistic regression whose strength is chosen on a fifth of its rows."""

    is_encoded = True

    def predict(self, known: Cells, y: Vector, asked: Cells, seed: int) -> Vector:
        x = known.encoded
        order = np.random.default_rng(seed).permutation(len(y))
        cut = round(CHOOSING * len(y))
        judged, learnt = order[:cut], order[cut:]
        losses = [
            log_losses(y[judged], self._predict(x[learnt], y[learnt], strength, x[judged])).mean()
            for strength in STRENGTHS
        ]
        return self._predict(x, y, STRENGTHS[int(np.argmin(losses))], asked.encoded)

    def seconds(self, rows: int, columns: int, inputs: int, outputs: int) -> float:  # noqa: ARG002
        return (len(STRENGTHS) + 1) * PRODUCT_SECONDS * rows * inputs * outputs

    def _predict(self, x: Vector, y: Vector, inverse_strength: float, asked: Vector) -> Vector:
        found, seen = self._shares(y, len(asked))
        if len(seen) > 1:
            found[:, seen] = logistic(x, y, inverse_strength).predict_proba(asked)
        shares: Vector = found / found.sum(1, keepdims=True)
        return shares


class BoostingBaseline(_OfClasses):
    """scikit-learn's histogram gradient boosting."""

    def predict(self, known: Cells, y: Vector, asked: Cells, seed: int) -> Vector:
        found, seen = self._shares(y, len(asked.numbers))
        if len(seen) > 1:
            trees = boosted(HistGradientBoostingClassifier, known, y, seed)
            found[:, seen] = trees.predict_proba(asked.columns)
        shares: Vector = found / found.sum(1, keepdims=True)
        return shares

    def seconds(self, rows: int, columns: int, inputs: int, outputs: int) -> float:  # noqa: ARG002
        return boosting_seconds(rows, columns, outputs)
