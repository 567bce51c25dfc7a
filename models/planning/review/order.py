"""Columns that put the rows in an order of time in which the target hangs together.

Shuffled folds then score a day by its neighbours on both sides, which no day to come has.
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
# Different times that make an order, rather than a weekday or an hour.
LEAST_TIMES = 30
# Correlation of what the features leave unexplained from one row to the next in time, and its size
# in standard errors.
LEAST_CORRELATION = 0.15
LEAST_ERRORS = 4.0
# A number called time may be a duration, on which the target depends smoothly: a polynomial of this
# degree is taken off.
SMOOTH_DEGREE = 7
# Columns of the line that is taken off first, and rows that each of them needs.
MOST_COLUMNS = 50
ROWS_A_COLUMN = 10
# A category is a number here, the mean of its level; one with so few rows a level would follow the
# target by itself.
ROWS_A_LEVEL = 20
SHRINKAGE = 1e-3


def ordered_in_time(spec: TrainingSpec, profile: Profile, sample: Sample) -> Iterator[SpecWarning]:
    """Columns of times under folds that mix them, where neighbours in time are alike."""
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
                f"time folds, which need '{column.name}' in every row and miss it in "
                f"{column.missing:,}"
            )
        else:
            use = f'{{"folds": {{"type": "time", "column": "{column.name}"}}}}'
        yield SpecWarning(
            "ordered_in_time",
            f"In the order of '{column.name}' what the features leave of '{spec.target}' hangs "
            f"together: from one row to the next its correlation is {correlation:.2f}. "
            f"{spec.folds.type.capitalize()} folds score rows between their neighbours in time, "
            f"which later rows do not have. If those are what you predict, use {use}",
            column.name,
        )


def is_time(column: ColumnProfile) -> bool:
    """Whether a column says when: dates, or numbers with such a name."""
    named = column.storage == "number" and TIME_NAME.search(column.name) is not None
    return column.storage == "datetime" or named


def _from_row_to_row(values: Numbers, moments: Numbers, *, trend: bool) -> tuple[float, int]:
    """Correlation of (n,) values of the rows that have a time with those of the next, and how many
    rows these are. `trend`: whether a smooth course counts too."""
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
    """(n,) ranks of the target less what a line through ranks of the features explains."""
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
