"""Columns that give the target away."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.data.features import select
from models.planning.review.order import is_time
from models.planning.review.sample import Codes, Numbers, Sample, level_codes, standard_ranks
from models.planning.review.warning import SpecWarning
from models.spec import TrainingSpec
from models.tables.arrays import as_numbers
from models.tables.profile import Profile

# A column that explains more of the target than this gives it away. The measures are the
# correlation of the values, that of their ranks, and the share of the variance.
SUSPECT = 0.98
# Rows in a bin of numbers, whose mean predicts each of them.
BIN_ROWS = 10
MOST_BINS = 500
# Levels with a single row show nothing; the others must hold this share of the rows.
ENOUGH_ROWS = 0.5


def leakage_suspects(spec: TrainingSpec, profile: Profile, sample: Sample) -> Iterator[SpecWarning]:
    """Columns that almost repeat the target of a resolved spec: linearly, in order, or by the mean,
    or the classes, of each level or bin."""
    kinds = {feature.name: feature.kind for feature in select(spec, profile)}
    target, facets = sample.target, sample.facets
    ranks = standard_ranks(target)
    for column, cells in sample.read([c for c in profile.columns if c.name in kinds]):
        if kinds[column.name] == "categorical":
            codes, _ = level_codes(cells)
            line = order = 0.0
        else:
            values = as_numbers(cells)
            codes = _bins(values)
            line, order = correlation(values, target), correlation(values, ranks, by_rank=True)
        # Dates explain a target that is correlated in time, but do not repeat it.
        means = (
            0.0
            if is_time(column)
            else max(explained_by_means(codes, facets), explained_by_means(codes, ranks[:, None]))
        )
        if max(line, order) > SUSPECT:
            how = (
                f"follows '{spec.target}' with a correlation of {line:.3f}"
                if line > SUSPECT
                else f"orders the rows like '{spec.target}': their ranks have a correlation of "
                f"{order:.3f}"
            )
        elif means > SUSPECT:
            how = (
                f"gives '{spec.target}' away: its "
                f"{'levels' if kinds[column.name] == 'categorical' else 'values'} alone explain "
                f"{100 * means:.1f} % of how it varies, with each row left out of its own level"
            )
        else:
            continue
        yield SpecWarning(
            "leakage_suspect",
            f"'{column.name}' {how}. Exclude it if it is not known before the target",
            column.name,
        )


def correlation(column: Numbers, target: Numbers, *, by_rank: bool = False) -> float:
    """Absolute correlation of two (n,) over the rows that have both; 0 if it is not
    defined."""
    known = ~(np.isnan(column) | np.isnan(target))
    x, y = column[known], target[known]
    if by_rank:
        x, y = standard_ranks(x), standard_ranks(y)
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    x, y = x / np.abs(x).max(), y / np.abs(y).max()  # squares of huge numbers overflow
    return abs(float(np.corrcoef(x, y)[0, 1]))


def explained_by_means(codes: Codes, facets: Numbers) -> float:
    """Share of the variance of (n, A) facets that the means of their levels explain.

    Each row is left out of its own mean, so a level of few rows explains nothing by itself. 0 if
    levels of at least two rows hold fewer than half of the rows.
    """
    size = np.abs(facets).max()
    scaled = (facets - facets.mean(0)) / size if size > 0 else facets
    counts = np.bincount(codes)[codes]
    several = counts > 1
    if several.sum() < max(2, ENOUGH_ROWS * len(facets)):
        return 0.0
    left = total = 0.0
    for values in scaled.T:
        sums = np.bincount(codes, values)[codes]
        others = (sums[several] - values[several]) / (counts[several] - 1)
        rows = values[several]
        total += float(np.sum((rows - rows.mean()) ** 2))
        left += float(np.sum((rows - others) ** 2))
    return 1 - left / total if total > 0 else 0.0


def _bins(values: Numbers) -> Codes:
    """(n,) bins with about equal numbers of rows; missing values are in the last."""
    known = values[~np.isnan(values)]
    count = int(np.clip(len(known) // BIN_ROWS, 1, MOST_BINS))
    inner = np.linspace(0, 1, count + 1)[1:-1]
    edges = np.unique(np.quantile(known, inner)) if len(known) else known
    codes: Codes = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values))
    return codes
