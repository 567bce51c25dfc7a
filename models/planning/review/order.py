"""Columns of times along which the target is correlated from row to row.

Shuffled folds then score a day by its neighbours before and after. A future day has none after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from models.data.features import select
from models.planning.review.sample import Numbers, Sample, level_codes, standard_ranks
from models.planning.review.warning import SpecWarning
from models.spec import TrainingSpec
from models.tables.arrays import as_numbers
from models.tables.profile import ColumnProfile, Profile

TIME_NAME = re.compile(
    r"(?i)(?:^|[_\-. ])(?:date|datetime|time|timestamp|day|week|period|step|tick|t)(?:$|[_\-. ])"
)
# Distinct times needed; fewer may be weekdays or hours.
LEAST_TIMES = 30
# Correlation of what the features leave unexplained, from one row to the next in time: its least
# size, absolute and in standard errors.
LEAST_CORRELATION = 0.15
LEAST_ERRORS = 4.0
# A number called time may be a duration, on which the target depends smoothly. A polynomial of this
# degree is subtracted.
SMOOTH_DEGREE = 7
# Columns of the linear fit that is subtracted first, and rows that each of them needs.
MOST_COLUMNS = 50
ROWS_A_COLUMN = 10
# A category counts as a number, the mean of its level. With so few rows per level it would follow
# the target by itself.
ROWS_A_LEVEL = 20
SHRINKAGE = 1e-3


def ordered_in_time(spec: TrainingSpec, profile: Profile, sample: Sample) -> Iterator[SpecWarning]:
    """Columns of times if the folds mix them and the target is correlated from row to row."""
    times = [
        column
        for column in profile.columns
        if column.name != spec.target and is_time(column) and column.distinct >= LEAST_TIMES
    ]
    if not times or len(sample) < LEAST_TIMES:
        return
    left = _unexplained(spec, profile, sample, {column.name for column in times})
    for column, cells in sample.read(times):
        moments = as_numbers(cells)
        correlation, rows = _from_row_to_row(left, moments, trend=column.storage == "datetime")
        if correlation < LEAST_CORRELATION or correlation * rows**0.5 < LEAST_ERRORS:
            continue
        if column.missing:
            use = (
                f"time folds, after filling in '{column.name}', which is missing in "
                f"{column.missing:,} rows"
            )
        else:
            use = f'{{"folds": {{"type": "time", "column": "{column.name}"}}}}'
        yield SpecWarning(
            "ordered_in_time",
            f"In the order of '{column.name}', the part of '{spec.target}' that the features do "
            f"not explain has a correlation of {correlation:.2f} from one row to the next. "
            f"{spec.folds.type.capitalize()} folds score rows between their neighbours in time, "
            f"but later rows have none after them. If you predict later rows, use {use}",
            column.name,
        )


def is_time(column: ColumnProfile) -> bool:
    """Whether a column holds times: dates, or numbers with such a name."""
    named = column.storage == "number" and TIME_NAME.search(column.name) is not None
    return column.storage == "datetime" or named


def _from_row_to_row(values: Numbers, moments: Numbers, *, trend: bool) -> tuple[float, int]:
    """Correlation of (n,) values between consecutive rows in time, over rows that have a time, and
    the number of these rows. `trend`: whether a smooth trend counts too."""
    known = np.flatnonzero(~np.isnan(moments))
    if len(known) < LEAST_TIMES:
        return 0.0, 0
    known = known[np.argsort(moments[known], kind="stable")]
    ordered = values[known]
    if not trend:
        course = standard_ranks(moments[known])
        ordered = ordered - np.polynomial.Polynomial.fit(course, ordered, SMOOTH_DEGREE)(course)
    ordered = standard_ranks(ordered)
    return float(np.mean(ordered[1:] * ordered[:-1])), len(ordered)


def _unexplained(spec: TrainingSpec, profile: Profile, sample: Sample, times: set[str]) -> Numbers:
    """(n,) ranks of the target minus a linear fit by the ranks of the features."""
    target = standard_ranks(sample.target)
    kinds = {feature.name: feature.kind for feature in select(spec, profile)}
    names = kinds.keys() - times
    most = min(MOST_COLUMNS, len(target) // ROWS_A_COLUMN)
    best: list[tuple[float, Numbers]] = []
    for column, cells in sample.read([c for c in profile.columns if c.name in names]):
        ranks = _as_ranks(cells, kinds[column.name] == "categorical", target)
        best.append((abs(float(np.mean(ranks * target))), ranks))
        best = sorted(best, key=lambda one: -one[0])[:most]
    if not best:
        return target
    inputs = np.column_stack([ranks for _, ranks in best])
    squares = inputs.T @ inputs + SHRINKAGE * len(target) * np.eye(len(best))
    left: Numbers = target - inputs @ np.linalg.solve(squares, inputs.T @ target)
    return left


def _as_ranks(cells: pa.ChunkedArray, categorical: bool, target: Numbers) -> Numbers:
    if not categorical:
        return standard_ranks(as_numbers(cells))
    codes, count = level_codes(cells)
    if count * ROWS_A_LEVEL > len(codes):
        return np.zeros(len(codes))
    return standard_ranks((np.bincount(codes, target) / np.bincount(codes))[codes])
