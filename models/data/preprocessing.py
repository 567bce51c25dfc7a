"""What each fold learns about the columns, only from its training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.design import Design, Numbers
from models.data.folds import FoldRows
from models.spec import Preprocessing
from models.tables.coordinates import FARTHEST, directions
from models.tables.statistics import ROUNDING, typical_distance

# Knots of the piecewise-linear rank of `quantile` scaling.
QUANTILE_KNOTS = 33
# In a `robust` column that is mostly one value, cells further from it than this many typical
# distances count as typing errors.
FENCE = 10.0


@dataclass(frozen=True)
class FoldStatistics:
    """Learnt from the training rows of F folds, D numeric columns and W levels.

    With coordinates, R turned axes (`models.tables.coordinates`) follow the D columns and are
    treated like them: N = D + R.

    fill : (F, D) replaces a missing number
    center, scale : (F, N); a scale of 0 marks a column that does not vary there
    reach : (F, N) distance from the center, in scales, to which numbers beyond FENCE are moved;
        infinite for columns that are not mostly one value
    knots : (F, Q, N) quantiles for `quantile` scaling, otherwise Q = 0
    coordinates : indices of the pair among the D, or None
    bin_columns : (P,) the numeric column of each bin of a piecewise-linear code, otherwise P = 0
    bin_low, bin_width : (F, P); a width of 0 marks a bin that a fold does not have
    seen : (F, W) bool, whether a level occurs; the vocabularies' columns side by side
    """

    fill: Numbers
    coordinates: tuple[int, int] | None
    center: Numbers
    scale: Numbers
    reach: Numbers
    knots: NDArray[np.float64]
    bin_columns: NDArray[np.int64]
    bin_low: NDArray[np.float64]
    bin_width: NDArray[np.float64]
    seen: NDArray[np.bool_]

    def bin_knots(self, fold: int) -> list[NDArray[np.float64]]:
        """The ends of a fold's bins of each scaled number; one number if it has no bins."""
        return [
            knots_of(self.bin_low[fold, own], self.bin_width[fold, own])
            for own in (self.bin_columns == column for column in range(self.center.shape[1]))
        ]


def knots_of(low: NDArray[np.float64], width: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ends of a column's adjacent bins, those without a width left out."""
    used = width > 0
    return np.append(low[used], (low + width)[used][-1:]) if used.any() else np.zeros(1)


def trainable_rows(preprocessing: Preprocessing, design: Design, fold: FoldRows) -> FoldRows:
    """The fold without the training rows that `drop_rows` removes."""
    if preprocessing.numeric_missing != "drop_rows":
        return fold
    complete = np.asarray(~np.isnan(design.numbers).any(axis=1))
    return FoldRows(
        fold.train[complete[fold.train]], fold.watched[complete[fold.watched]], fold.validation
    )


def learn(
    preprocessing: Preprocessing,
    design: Design,
    training_rows: Sequence[np.ndarray],
    bins: int = 0,
) -> FoldStatistics:
    """Statistics of each fold from its own training rows (row numbers of the design).

    `bins`: the most quantile bins per numeric column for a piecewise-linear code.
    """
    numeric = [_fold_statistics(preprocessing, design, rows) for rows in training_rows]
    fill, center, scale, reach, knots = (
        np.stack(part) for part in zip(*(learnt for learnt, _ in numeric), strict=True)
    )
    bin_columns, bin_low, bin_width = align_bins(
        [_quantile_knots(numbers, bins) for _, numbers in numeric]
    )
    return FoldStatistics(
        fill=fill,
        coordinates=design.coordinates,
        center=center,
        scale=scale,
        reach=reach,
        knots=knots,
        bin_columns=bin_columns,
        bin_low=bin_low,
        bin_width=bin_width,
        seen=np.stack([_seen_levels(design, rows) for rows in training_rows]),
    )


# fill, center, scale, reach and knots of a fold's columns.
_Learnt = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _fold_statistics(
    preprocessing: Preprocessing, design: Design, rows: np.ndarray
) -> tuple[_Learnt, Numbers]:
    """What is learnt from a fold's training rows, including turned axes, and their numbers without
    the wild ones."""
    numbers = design.numbers[rows]
    learnt, tame = _numeric_statistics(preprocessing, numbers)
    if design.coordinates is None:
        return learnt, tame
    fill, center, scale, *_ = learnt
    pair = list(design.coordinates)
    filled = np.where(np.isnan(numbers[:, pair]), fill[pair], numbers[:, pair])
    with np.errstate(over="ignore"):  # clipped in the next step
        scaled = (filled - center[pair]) / np.where(scale[pair] == 0, 1.0, scale[pair])
    turned = np.clip(scaled, -FARTHEST, FARTHEST) @ directions()
    added, tame_turned = _numeric_statistics(preprocessing, turned)
    center, scale, reach, knots = (
        np.concatenate(parts, axis=-1) for parts in zip(learnt[1:], added[1:], strict=True)
    )
    return (fill, center, scale, reach, knots), np.column_stack([tame, tame_turned])


def _numeric_statistics(preprocessing: Preprocessing, numbers: Numbers) -> tuple[_Learnt, Numbers]:
    """What is learnt about each column, and the numbers without the wild ones; a column without
    numbers counts as all zeros."""
    numbers = np.where(np.isnan(numbers).all(axis=0), 0.0, numbers)
    # Sums and squares of numbers near the largest float64 would overflow.
    largest = np.maximum(np.nanmax(np.abs(numbers), axis=0), np.finfo(np.float64).tiny)
    relative = numbers / largest
    mean = np.nanmean(relative, axis=0) * largest
    quartiles = _quantiles(relative, [0.25, 0.5, 0.75]) * largest
    reach = np.full_like(mean, np.inf)
    knots = np.empty((0, numbers.shape[1]))
    match preprocessing.numeric_scaling:
        case "standard":
            spread = np.nanstd(relative, axis=0)
            center, scale = mean, np.where(spread > ROUNDING, spread, 0.0) * largest
        case "robust":
            center, scale = quartiles[1], quartiles[2] - quartiles[0]
            # If half of a column is one value (no pool, no porch), use the size of the others.
            for place in np.flatnonzero(scale == 0):
                typical, reach[place], wild, instead = _rare(relative[:, place])
                scale[place] = typical * largest[place]
                numbers[wild, place] = instead * largest[place]
                relative[wild, place] = instead
                mean[place] = np.nanmean(relative[:, place]) * largest[place]
        case "quantile":
            knots = _quantiles(relative, np.linspace(0, 1, QUANTILE_KNOTS)) * largest
            center, scale = knots[0], knots[-1] - knots[0]
        case "none":
            center, scale = np.zeros_like(mean), np.ones_like(mean)
    fill = {
        "mean": mean,
        "drop_rows": mean,
        "median": quartiles[1],
        "zero": np.zeros_like(mean),
    }[preprocessing.numeric_missing]
    return (fill, center, scale, reach, knots), numbers


def _rare(column: Numbers) -> tuple[float, float, NDArray[np.bool_], NDArray[np.float64]]:
    """(typical, reach, wild, instead) of a column (n,) that is mostly one value.

    typical : how far the other values lie from that one
    reach : distance of the farthest value that is no typing error, in typical distances
    wild, instead : which cells are beyond FENCE, and the values at that distance on their side
    """
    middle = float(np.nanmedian(column))
    typical = typical_distance(column[~np.isnan(column)], middle)
    away = column - middle
    wild = np.abs(away) > FENCE * typical
    farthest = float(np.nanmax(np.abs(away[~wild])))
    instead = middle + np.sign(away[wild]) * farthest
    return typical, farthest / typical if typical > 0 else np.inf, wild, instead


def _quantiles(numbers: Numbers, shares: Sequence[float] | np.ndarray) -> NDArray[np.float64]:
    """(Q, D); numpy loses Q if D is 0."""
    quantiles: NDArray[np.float64] = np.nanquantile(numbers, shares, axis=0)
    return quantiles.reshape(len(shares), numbers.shape[1])


def _quantile_knots(numbers: Numbers, bins: int) -> list[NDArray[np.float64]]:
    """Distinct quantiles of each column's known numbers, at most bins + 1."""
    ranks = np.linspace(0, 1, bins + 1)
    known = [column[~np.isnan(column)] for column in numbers.T]
    return [
        np.unique(np.quantile(column, ranks)) if bins and len(column) else np.zeros(1)
        for column in known
    ]


def align_bins(
    folds: list[list[NDArray[np.float64]]],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """(columns, low, width) of all folds' bins, from each column's knots in each fold: a column has
    as many as the fold with most."""
    counts = [max(len(knots) - 1 for knots in column) for column in zip(*folds, strict=True)]
    columns = np.repeat(np.arange(len(counts)), counts)
    low, width = np.zeros((2, len(folds), len(columns)))
    first = np.cumsum([0, *counts])
    for fold, column_knots in enumerate(folds):
        for column, knots in enumerate(column_knots):
            own = slice(first[column], first[column] + len(knots) - 1)
            low[fold, own], width[fold, own] = knots[:-1], np.diff(knots)
    return columns, low, width


def _seen_levels(design: Design, rows: np.ndarray) -> NDArray[np.bool_]:
    """(W,) whether each level occurs among these rows."""
    blocks = [
        np.bincount(design.codes[rows, place], minlength=vocabulary.unknown + 1)[
            : vocabulary.unknown
        ]
        > 0
        for place, vocabulary in enumerate(design.categorical)
    ]
    return np.concatenate(blocks) if blocks else np.zeros(0, bool)
