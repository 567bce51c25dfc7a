"""What a model keeps about its training rows, to detect rows that are unlike all of them and to
explain predictions against them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from models.data.design import Codes, Numbers
from models.tables.statistics import typical_distance

# Largest number of numeric columns in the distance, whose cost is quadratic in it.
MOST_COLUMNS = 128
# Share of the training rows that count as outliers themselves.
OUTLIER_SHARE = 0.002
# Added to the covariance's diagonal, which has no inverse if one column copies another.
SHRINKAGE = 0.05
BACKGROUND_ROWS = 64
PARTS = 10  # of the rows, each compared with the others
FARTHEST = 1e6  # of asinh, also for values that overflow
# Columns that an outlier's warning names.
NAMED = 3

Vector = NDArray[np.float64]


class Outliers(BaseModel):
    """How far a row's numbers are from those of training, given their correlations.

    Mahalanobis distance of u = asinh((x − median) / scale), which keeps extreme values in order.
    A missing number counts as the mean.
    """

    columns: list[int]  # indices among the model's numeric columns
    center: list[float]
    scale: list[float]
    mean: list[float]
    precision: list[list[float]]
    limit: float  # the largest distance of a row that is not an outlier

    @classmethod
    def of(cls, numbers: Numbers, columns: list[int]) -> Outliers | None:
        """Fit to numbers (n, D), with at most `MOST_COLUMNS` columns; None: no column varies."""
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
        """(N, K) squared distances, split by column."""
        with np.errstate(over="ignore"):
            seen = np.arcsinh((numbers.take(self._columns, 1) - self._center) / self._scale)
        return _parts(seen, self._mean, self._precision)

    def most(self, parts: Vector) -> list[int]:
        """The columns that contribute most to one row's distance: indices among the numbers."""
        return [
            int(self._columns[place]) for place in np.argsort(-parts)[:NAMED] if parts[place] > 0
        ]


class Background(BaseModel):
    """A sample of the training rows; null is missing."""

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
    """Mean (K,) and inverse covariance (K, K) of (n, K); NaN is missing."""
    mean = np.nanmean(seen, axis=0)
    away = np.nan_to_num(seen - mean)
    covariance = away.T @ away / len(away)
    ridge = SHRINKAGE * np.maximum(np.diag(covariance), 1e-9)
    return mean, np.linalg.inv(covariance + np.diag(ridge))


def _parts(seen: Vector, mean: Vector, precision: Vector) -> Vector:
    """(N, K) squared distances, split by column."""
    away = seen - mean
    away[np.isnan(away)] = 0.0
    np.maximum(np.minimum(away, FARTHEST, out=away), -FARTHEST, out=away)
    parts: Vector = away * (away @ precision)
    return parts


def _limit(seen: Vector) -> float:
    """The distance that few unseen rows exceed: each part of the rows is compared with the
    others, because a row of a small table is always near to itself."""
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
    """A quarter of the range between the 5 % and 95 % quantiles; 0 if nothing varies."""
    # Halved first, because the difference of huge numbers overflows.
    quarters = known / 4
    low, center, high = np.quantile(quarters, [0.05, 0.5, 0.95])
    return float(high - low) or 4 * typical_distance(quarters, center)


def _known(column: Vector) -> Vector:
    known = column[~np.isnan(column)]
    return known if len(known) else np.zeros(1)
