"""What a model remembers of the rows that it was trained on: enough to tell a row that is unlike
all of them, and to explain a price against them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from models.data.design import Codes, Numbers
from models.tables.statistics import typical_distance

# Columns of numbers that are looked at together; the distance costs their square.
MOST_COLUMNS = 128
# Of the rows of training, those that would be called outliers themselves.
OUTLIER_SHARE = 0.002
# Added to the covariance's diagonal: columns that are copies of each other have no inverse.
SHRINKAGE = 0.05
BACKGROUND_ROWS = 64
PARTS = 10  # of the rows, each of which is held against the others
FARTHEST = 1e6  # of asinh: what overflows is no further away
# Columns that are named of an outlier.
NAMED = 3

Vector = NDArray[np.float64]


class Outliers(BaseModel):
    """How far a row's numbers are from those of training, correlations considered.

    Mahalanobis distance of u = asinh((x − median) / scale), which keeps order beyond all bounds;
    a missing number is as far away as the mean.
    """

    columns: list[int]  # places among the model's columns of numbers
    center: list[float]
    scale: list[float]
    mean: list[float]
    precision: list[list[float]]
    limit: float  # the largest distance that is not remarkable

    @classmethod
    def of(cls, numbers: Numbers, columns: list[int]) -> Outliers | None:
        """From numbers (n, D), by at most `MOST_COLUMNS` of them; None: there are none to see."""
        widths = {place: _width(_known(numbers[:, place])) for place in columns}
        varied = sorted([place for place in columns if widths[place] > 0][:MOST_COLUMNS])
        if not varied:
            return None
        cells = numbers[:, varied]
        center = np.nanmedian(cells, axis=0)
        scale = np.array([widths[place] for place in varied])
        with np.errstate(over="ignore"):
            seen = np.arcsinh((cells - center) / scale)
        mean, precision = _fit(seen)
        found = cls(
            columns=varied,
            center=center.tolist(),
            scale=scale.tolist(),
            mean=mean.tolist(),
            precision=precision.tolist(),
            limit=_limit(seen),
        )
        return found


class OutlierCheck:
    """`Outliers` as arrays."""

    def __init__(self, outliers: Outliers) -> None:
        self.limit = outliers.limit
        self._columns = np.array(outliers.columns)
        self._center = np.array(outliers.center)
        self._scale = np.array(outliers.scale)
        self._mean = np.array(outliers.mean)
        self._precision = np.array(outliers.precision)

    def parts(self, numbers: Numbers) -> Vector:
        """(N, K) squared distances, by the column that they come from."""
        with np.errstate(over="ignore"):
            seen = np.arcsinh((numbers.take(self._columns, 1) - self._center) / self._scale)
        return _parts(seen, self._mean, self._precision)

    def most(self, parts: Vector) -> list[int]:
        """The columns that most of one row's distance comes from, places among the numbers."""
        return [
            int(self._columns[place]) for place in np.argsort(-parts)[:NAMED] if parts[place] > 0
        ]


class Background(BaseModel):
    """A sample of the rows of training; null is missing."""

    numbers: list[list[float | None]]
    codes: list[list[int]]

    @classmethod
    def of(cls, numbers: Numbers, codes: Codes, chance: np.random.Generator) -> Background:
        rows = chance.choice(len(numbers), min(BACKGROUND_ROWS, len(numbers)), replace=False)
        return cls(
            numbers=[
                [None if np.isnan(cell) else cell for cell in row] for row in numbers[rows].tolist()
            ],
            codes=codes[rows].tolist(),
        )

    def arrays(self) -> tuple[Numbers, Codes]:
        """numbers (B, D) and codes (B, C)."""
        rows = len(self.numbers)
        return (
            np.array(self.numbers, np.float64).reshape(rows, -1),
            np.array(self.codes, np.int64).reshape(rows, -1),
        )


def _fit(seen: Vector) -> tuple[Vector, Vector]:
    """Mean (K,) and inverse covariance (K, K) of (n, K), where NaN is missing."""
    mean = np.nanmean(seen, axis=0)
    away = np.nan_to_num(seen - mean)
    covariance = away.T @ away / len(away)
    ridge = SHRINKAGE * np.maximum(np.diag(covariance), 1e-9)
    return mean, np.linalg.inv(covariance + np.diag(ridge))


def _parts(seen: Vector, mean: Vector, precision: Vector) -> Vector:
    """(N, K) squared distances, by the column that they come from."""
    away = seen - mean
    away[np.isnan(away)] = 0.0
    np.maximum(np.minimum(away, FARTHEST, out=away), -FARTHEST, out=away)
    parts: Vector = away * (away @ precision)
    return parts


def _limit(seen: Vector) -> float:
    """The distance that few rows exceed of which the covariance knows nothing: each part of the
    rows is held against the others. Against its own, a row of a small table is always near."""
    distances = np.zeros(len(seen))
    for part in range(PARTS):
        own = np.arange(len(seen)) % PARTS == part
        others = seen[~own]
        if not own.any() or np.isnan(others).all(0).any():
            continue
        distances[own] = _parts(seen[own], *_fit(others)).sum(1)
    place = min(len(seen) - 1, int(len(seen) * (1 - OUTLIER_SHARE)))
    return float(np.sort(distances)[place])


def _width(known: Vector) -> float:
    """A quarter of the range between the 5 % and 95 % quantiles, 0 where nothing varies."""
    # Halved first: the difference of the largest numbers is none.
    quarters = known / 4
    low, center, high = np.quantile(quarters, [0.05, 0.5, 0.95])
    return float(high - low) or 4 * typical_distance(quarters, center)


def _known(column: Vector) -> Vector:
    known = column[~np.isnan(column)]
    return known if len(known) else np.zeros(1)
