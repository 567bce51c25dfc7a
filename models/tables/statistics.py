"""Statistics of a column of numbers, always finite."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.tables.cells import Floats

QUANTILES = (0.25, 0.5, 0.75)
BINS = 20  # of a histogram
# A spread below this share of the largest value is rounding error.
ROUNDING = 1e-14


@dataclass(frozen=True)
class Summary:
    """`std` divides by n; `skewness` is the third standardised moment, 0 for equal values.

    `quantiles`, linearly interpolated, have the names "0.25", "0.5", "0.75".
    `histogram` counts the values in `BINS` parts of equal width from `min` to `max`; equal values
    are in the first.
    """

    min: float
    max: float
    mean: float
    std: float
    skewness: float
    quantiles: dict[str, float]
    histogram: list[int]


def summarize(values: Floats) -> Summary:
    """Summary of (n,) finite values, n ≥ 1.

    Values are scaled by a power of two, which is exact, so that no sum or square of values near
    the largest double overflows.
    """
    largest = np.abs(values).max()
    exponent = np.frexp(largest)[1]
    scaled = np.ldexp(values, -exponent)  # |scaled| ≤ 1
    low, high = scaled.min(), scaled.max()
    mean = np.clip(scaled.mean(), low, high)
    deviation = scaled - mean
    # Rounding may lift the standard deviation of ±x above x and so beyond the largest double.
    std = min(np.sqrt(np.mean(deviation**2)), np.abs(scaled).max()) if low < high else 0.0
    skewness = np.mean((deviation / std) ** 3) if std > 0 else 0.0
    # np.histogram refuses ranges that are too narrow for edges between the doubles.
    place = (scaled - low) / (high - low) * BINS if low < high else np.zeros(len(scaled))
    counts = np.bincount(np.minimum(place.astype(np.int64), BINS - 1), minlength=BINS)
    quantiles = np.ldexp(np.quantile(scaled, QUANTILES), exponent)
    return Summary(
        min=float(values.min()),
        max=float(values.max()),
        mean=float(np.ldexp(mean, exponent)),
        std=float(np.ldexp(std, exponent)),
        skewness=float(skewness),
        quantiles={str(q): float(value) for q, value in zip(QUANTILES, quantiles, strict=True)},
        histogram=counts.tolist(),
    )


def typical_distance(values: Floats, center: float) -> float:
    """The typical distance from `center` of those of (n,) finite values that differ from it: the
    lower median of their distances, 0 if none differs.

    A measure of spread for columns that are mostly one value and so have no interquartile range.
    It tolerates typing errors in up to half of the other values.
    """
    distances = np.abs(values - center)
    away = distances[distances > ROUNDING * np.abs(values).max(initial=0.0)]
    return float(np.quantile(away, 0.5, method="inverted_cdf")) if len(away) else 0.0
