"""Rows that are copies or near copies of others. A copy among the training rows gives the score
away.

A copy is much nearer to its original than any other row. So rows that agree within a tolerance are
copies if hardly more rows agree within five times the tolerance: by chance, five times as many
would, even in one dimension. Where columns are discrete, rows agree by chance; the columns' own
frequencies say how often.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from models.data.features import select
from models.planning.review.order import is_time
from models.planning.review.sample import Numbers, Sample, level_codes
from models.planning.review.warning import SpecWarning
from models.spec import TrainingSpec
from models.tables.arrays import as_numbers
from models.tables.kinds import ID_NAME
from models.tables.profile import ColumnProfile, Profile

Counts = NDArray[np.int64]
Agreeing = tuple[Counts, Counts]

# Root mean square of the columns' differences, in units of each column's spread, for figures that
# were measured twice or rounded. With few columns only the smaller one finds copies.
TOLERANCES = (0.03, 0.003)
WIDER = 5.0
TARGET_TOLERANCE = 0.1
# Share of rows with a copy that gives a warning, and size of the sample searched.
LEAST_SHARE = 0.02
LEAST_ROWS = 5
MOST_ROWS = 20_000
MOST_ASKED = 1_000
ASKED_AT_ONCE = 200
MOST_COLUMNS = 100
# Agreements found, as a multiple of those expected by chance.
MANY_TIMES = 10
SPREAD = 4.0  # columns are clipped at this many spreads
ROUNDING = 1e-12  # of squared distances, relative to the largest square in the subtraction
MISSING = -2 * SPREAD


def duplicate_rows(spec: TrainingSpec, profile: Profile, sample: Sample) -> Iterator[SpecWarning]:
    """Rows whose features and target agree with another row's, except ids and dates."""
    kinds = {feature.name: feature.kind for feature in select(spec, profile)}
    columns = [column for column in profile.columns if _counts(column, kinds)][:MOST_COLUMNS]
    if not columns or len(sample) < 2:
        return
    chance = np.random.default_rng(0)
    rows = np.sort(chance.permutation(len(sample))[:MOST_ROWS])
    points = np.column_stack(
        [
            _levels(level_codes(cells)[0][rows], chance)
            if kinds[column.name] == "categorical"
            else _scaled(as_numbers(cells)[rows])
            for column, cells in sample.read(columns)
        ]
    )
    target = _scaled(sample.target[rows])
    asked = chance.permutation(len(rows))[:MOST_ASKED]
    target_by_chance = _agreement(target, TARGET_TOLERANCE, chance)
    exact = share = 0.0
    for tolerance in TOLERANCES:
        by_chance = len(rows) * float(
            np.prod([_agreement(one, tolerance, chance) for one in points.T])
        )
        alike, all_ = _neighbours(points, target, asked, tolerance)
        exact = max(exact, _share_of_copies(*alike, by_chance * target_by_chance))
        share = max(share, exact, _share_of_copies(*all_, by_chance))
    exact, share = (min(1.0, one * len(sample) / len(rows)) for one in (exact, share))
    if share < LEAST_SHARE:
        return
    too = f" and in '{spec.target}'" if exact >= LEAST_SHARE else ""
    yield SpecWarning(
        "duplicate_rows",
        f"about {round(share * len(sample)):,} rows ({100 * share:.0f} %) agree, or nearly agree, "
        f"with another row in all features{too}, except ids and dates. "
        f"{spec.folds.type.capitalize()} folds train on copies of rows that they score. Remove the "
        "copies, or give each set of copies its own value in a column and use "
        '{"folds": {"type": "group", "column": …}}',
    )


def _share_of_copies(near: Counts, wider: Counts, by_chance: float) -> float:
    """Share of the rows that have a copy, from the numbers of rows (n,) that agree with each within
    a tolerance and a wider one; 0 if chance explains them."""
    found = float(near.mean())
    is_chance = float(wider.mean()) > found * WIDER / 2 or found < MANY_TIMES * by_chance
    return 0.0 if is_chance or (near > 0).sum() < LEAST_ROWS else float((near > 0).mean())


def _counts(column: ColumnProfile, kinds: Mapping[str, str]) -> bool:
    """Whether a column describes a row, rather than identifying or dating it."""
    return column.name in kinds and not is_time(column) and not ID_NAME.search(column.name)


def _scaled(values: Numbers) -> Numbers:
    """(n,) numbers minus their median, in units of their spread, clipped; missing ones far away."""
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return np.full(len(values), MISSING)
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
    spread = (
        (high - low) / 1.349 or float(known.std()) or 1.0
    )  # scaled as for a normal distribution
    scaled = np.clip((values - middle) / spread, -SPREAD, SPREAD)
    return np.where(np.isnan(values), MISSING, scaled)


def _levels(codes: NDArray[np.int64], chance: np.random.Generator) -> Numbers:
    """(n,) a position for each level, far from all others."""
    places: Numbers = chance.permutation(codes.max() + 1)[codes] * SPREAD
    return places


def _agreement(column: Numbers, tolerance: float, chance: np.random.Generator) -> float:
    """Share of row pairs that agree in a column."""
    other = column[chance.permutation(len(column))]
    return max(float((np.abs(column - other) <= tolerance).mean()), 1 / len(column))


def _neighbours(
    points: Numbers, target: Numbers, asked: Counts, tolerance: float
) -> tuple[Agreeing, Agreeing]:
    """How many other rows agree with each asked row within the tolerance, and within a wider one:
    among rows with a similar target, and among all."""
    squares = (points**2).sum(axis=1)
    bounds = [points.shape[1] * (tolerance * wider) ** 2 for wider in (1, WIDER)]
    found = np.zeros((4, len(asked)), np.int64)
    for start in range(0, len(asked), ASKED_AT_ONCE):
        rows = asked[start : start + ASKED_AT_ONCE]
        distances = squares[rows, None] + squares - 2 * points[rows] @ points.T
        alike = np.abs(target[rows, None] - target) <= TARGET_TOLERANCE
        here = slice(start, start + len(rows))
        for place, bound in enumerate(bounds):
            agree = distances <= bound + ROUNDING * squares.max()
            found[place, here] = (agree & alike).sum(axis=1)
            found[place + 2, here] = agree.sum(axis=1)
    found -= 1  # the row itself
    return (found[0], found[1]), (found[2], found[3])
