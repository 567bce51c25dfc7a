"""Which of two models of one table errs less, on rows that neither has seen."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

COLUMNS = ["row", "actual", "prediction"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """The errors of a challenger and of the champion on the same `rows` rows.

    metric : `rmse_log`, the root mean square error of the logarithms, where every target and every
        prediction is positive: ten per cent weigh the same on a cheap house as on a dear one. Else
        `rmse`, on the target's own scale.
    """

    metric: Literal["rmse_log", "rmse"]
    rows: int
    challenger: float
    champion: float

    @property
    def is_better(self) -> bool:
        return self.challenger < self.champion


def compare(challenger: bytes, champion: bytes) -> Comparison | None:
    """Compare two models of one table and target by their out-of-fold predictions, two Parquet
    files; None: no row has a prediction of both."""
    rows, actual, ours = _columns(challenger)
    their_rows, _, theirs = _columns(champion)
    common, here, there = np.intersect1d(rows, their_rows, assume_unique=True, return_indices=True)
    if len(common) == 0:
        return None
    vectors = [actual[here], ours[here], theirs[there]]
    positive = all((vector > 0).all() for vector in vectors)
    truth, first, second = map(np.log, vectors) if positive else vectors
    return Comparison(
        metric="rmse_log" if positive else "rmse",
        rows=len(common),
        challenger=_rms(first - truth),
        champion=_rms(second - truth),
    )


def _columns(file: bytes) -> list[Vector]:
    table = pq.read_table(io.BytesIO(file), columns=COLUMNS)
    return [table[name].to_numpy() for name in COLUMNS]


def _rms(errors: Vector) -> float:
    return float(np.sqrt(np.mean(errors**2)))
