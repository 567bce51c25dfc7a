"""What a model remembers of the rows that it was trained on: enough to tell a row that is unlike
all of them, and to explain a price against them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from models.data.design import Codes, Numbers

# Columns of numbers that are looked at together; the distance costs their square.
MOST_COLUMNS = 128
# Of the rows of training, those that would be called outliers themselves.
OUTLIER_SHARE = 0.002
# Added to the covariance's diagonal: columns that are copies of each other have no inverse.
SHRINKAGE = 0.05
BACKGROUND_ROWS = 64
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
        varied = [place for place in columns if np.ptp(_known(numbers[:, place])) > 0]
        varied = sorted(varied[:MOST_COLUMNS])
        if not varied:
            return None
        cells = numbers[:, varied]
        center = np.nanmedian(cells, axis=0)
        low, high = np.nanquantile(cells, [0.05, 0.95], axis=0)
        deviation = np.nanstd(cells, axis=0)
        scale = np.where(high > low, (high - low) / 4, deviation)
        seen = np.arcsinh((cells - center) / scale)
        mean = np.nanmean(seen, axis=0)
        away = np.nan_to_num(seen - mean)
        covariance = away.T @ away / len(away)
        ridge = SHRINKAGE * np.maximum(np.diag(covariance), 1e-9)
        found = cls(
            columns=varied,
            center=center.tolist(),
            scale=scale.tolist(),
            mean=mean.tolist(),
            precision=np.linalg.inv(covariance + np.diag(ridge)).tolist(),
            limit=0.0,
        )
        distances = np.sort(OutlierCheck(found).parts(numbers).sum(1))
        place = min(len(distances) - 1, int(len(distances) * (1 - OUTLIER_SHARE)))
        found.limit = float(distances[place])
        return found


class OutlierCheck:
    """`Outliers` as arrays."""

    def __init__(self, outliers: Outliers) -> None:
        self.limit = outliers.limit
        self._columns = outliers.columns
        self._center = np.array(outliers.center)
        self._scale = np.array(outliers.scale)
        self._mean = np.array(outliers.mean)
        self._precision = np.array(outliers.precision)

    def parts(self, numbers: Numbers) -> Vector:
        """(N, K) squared distances, by the column that they come from."""
        seen = np.arcsinh((numbers[:, self._columns] - self._center) / self._scale)
        away = np.nan_to_num(seen - self._mean)
        parts: Vector = away * (away @ self._precision)
        return parts

    def most(self, parts: Vector) -> list[int]:
        """The columns that most of one row's distance comes from, places among the numbers."""
        return [self._columns[place] for place in np.argsort(-parts)[:NAMED] if parts[place] > 0]


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


def _known(column: Vector) -> Vector:
    known = column[~np.isnan(column)]
    return known if len(known) else np.zeros(1)
