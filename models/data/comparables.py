"""What known rows teach about others: a line's residuals near them, and means of their groups.

The targets of a fold's training rows enter the features of rows. A training row must not see its
own target, so its features are learnt from four of five parts of the fold's rows: those without it.
Everything that depends on a target is learnt anew from these, the line included: a line through all
rows bends towards each target, and its neighbours' residuals would tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from models.data.design import Codes, Design, Numbers
from models.data.preprocessing import learn
from models.randomness import stream_seed
from models.spec import Preprocessing

# Of a fold's training rows.
PARTS = 5
# Scaled numbers are clipped here, so that one cell does not decide a distance.
LARGEST_NUMBER = 10.0
# The most frequent levels have inputs of the line; it is solved in a second up to so many.
LINE_LEVELS = 512
# Added to each input's sum of squares, like scikit-learn's Ridge.
DAMPING = 1.0
# The line has a constant, without damping; this keeps its system regular without rows.
CONSTANT_DAMPING = 1e-9
# Share of each scaled number in distances, next to its contribution to the line.
NUMBER_SHARE = 0.1
# Coordinates of rows' attributes, those that vary most. More take longer to serve.
MOST_ATTRIBUTES = 16
# Rows to compare with, per fold: 64 of more are hardly nearer, and serving takes longer.
MOST_REFERENCES = 20_000
# Rows with the mean target that each group has in addition.
PRIOR_ROWS = 5.0
# Distinct values of a column whose means are taken. Fewer have inputs of their own.
FEWEST_GROUPS = 8
MOST_INTEGERS = 50
# Largest degrees of latitude and longitude.
DEGREES = np.array([90.0, 180.0])
FARTHEST_PLACE = 10.0


@dataclass(frozen=True)
class Groups:
    """Columns whose levels have means.

    categorical : places among the design's categorical columns
    numeric : places among its numeric columns, of integers
    values : (len(numeric), V) their values, NaN where a column has fewer
    """

    categorical: list[int]
    numeric: list[int]
    values: Numbers

    def __len__(self) -> int:
        return len(self.categorical) + len(self.numeric)


@dataclass(frozen=True)
class Learnt:
    """Learnt from r references with targets of A columns; T = levels + 1 unknown one per column.

    fill, center, scale : (D,) of numbers, standard scaling
    place_center, place_scale : (2,) of coordinates
    factor : (D,) of scaled numbers among the attributes
    contributions : (T, A) of levels to the line, without their mean
    chosen : (S,) which of the D + C·A attributes are compared
    places : (r, 2)
    attributes : (r, S)
    values : (r, 2, A) the line's residuals and the targets
    level_means : (T, A) sum of targets / (rows + PRIOR_ROWS)
    integer_means : (len(groups.numeric), V, A)
    group_center, group_scale : (G·A,) of a reference's means without itself
    line : (D + L + 1, A) weights, the constant last
    """

    fill: Numbers
    center: Numbers
    scale: Numbers
    place_center: Numbers
    place_scale: Numbers
    factor: Numbers
    contributions: Numbers
    chosen: Codes
    places: Numbers
    attributes: Numbers
    values: Numbers
    level_means: Numbers
    integer_means: Numbers
    group_center: Numbers
    group_scale: Numbers
    line: Numbers


def groups_of(design: Design, known: Sequence[Codes], names: Sequence[str] | None) -> Groups:
    """The columns with many levels or integers; of `names`, if given, all that have some."""
    rows = np.unique(np.concatenate(known))
    fewest = FEWEST_GROUPS if names is None else 1
    chosen = set(design.numeric) | {v.name for v in design.categorical} if names is None else names
    categorical = [
        place
        for place, vocabulary in enumerate(design.categorical)
        if vocabulary.unknown >= fewest and vocabulary.name in chosen
    ]
    numeric, values = [], []
    for place, name in enumerate(design.numeric):
        if name not in chosen or design.numeric_kinds[place] != "numeric":
            continue
        cells = design.numbers[rows, place]
        distinct = np.unique(cells[~np.isnan(cells)])
        if fewest <= len(distinct) <= MOST_INTEGERS and (distinct == np.round(distinct)).all():
            numeric.append(place)
            values.append(distinct)
    width = max((len(distinct) for distinct in values), default=0)
    padded = np.full((len(values), width), np.nan)
    for row, distinct in zip(padded, values, strict=True):
        row[: len(distinct)] = distinct
    return Groups(categorical, numeric, padded)


def offsets_of(design: Design) -> Codes:
    """(C + 1,) the first of each categorical column's levels in tables of T rows, and T."""
    return np.cumsum([0, *(vocabulary.unknown + 1 for vocabulary in design.categorical)])


class KnownRows:
    """Rows of one fold with standardised targets y (r, A), in PARTS random parts."""

    def __init__(
        self, design: Design, rows: Codes, y: Numbers, groups: Groups, seed: int, fold: int
    ) -> None:
        self.rows, self.y, self.groups = rows, y.astype(np.float64), groups
        self.numbers, self.codes = design.numbers[rows], design.codes[rows]
        self.coordinates = design.coordinates
        self.random = np.random.default_rng(stream_seed(seed, "comparables", fold))
        self.part = self._parts(None if design.fold_column is None else design.fold_column[rows])
        self.order = self.random.permutation(len(rows))  # the first ones are references
        standard = Preprocessing(numeric_scaling="standard")
        statistics = learn(standard, replace(design, coordinates=None), [rows])
        self.fill, self.center = statistics.fill[0], statistics.center[0]
        self.scale = np.where(statistics.scale[0] == 0, 1.0, statistics.scale[0])
        self.scaled = np.clip(
            (self._filled() - self.center) / self.scale, -LARGEST_NUMBER, LARGEST_NUMBER
        )
        self.offsets = offsets_of(design)
        self.level = self.codes + self.offsets[:-1]  # (r, C) row in tables of T
        self.line_levels = self._frequent()
        self._sum_up()

    def _parts(self, column: NDArray[np.generic] | None) -> Codes:
        """(r,) the part of each row. Rows of one group, or time, are in one part: their targets say
        more about each other than about rows to predict."""
        if column is None:
            return self.random.permutation(len(self.rows)) % PARTS
        groups, place = np.unique(column, return_inverse=True)
        parts: Codes = (self.random.permutation(len(groups)) % PARTS)[place.reshape(-1)]
        return parts

    def _filled(self) -> Numbers:
        return np.where(np.isnan(self.numbers), self.fill, self.numbers)

    def _frequent(self) -> Codes:
        """(L,) the most frequent levels, as rows in tables of T."""
        counts = np.bincount(self.level.ravel(), minlength=self.offsets[-1])
        counts[self.offsets[1:] - 1] = 0  # unknown
        frequent = np.argsort(-counts, kind="stable")[:LINE_LEVELS]
        return np.sort(frequent[counts[frequent] > 0])

    def _sum_up(self) -> None:
        """Squares (PARTS, I, I) and products (PARTS, I, A) of each part. Parts are added, not
        taken off a total: that would leave a rounding error of the row's own target."""
        column = np.full(self.offsets[-1], -1)
        column[self.line_levels] = np.arange(len(self.line_levels))
        width = self.scaled.shape[1] + len(self.line_levels) + 1
        self.inputs = np.zeros((len(self.rows), width))
        self.inputs[:, : self.scaled.shape[1]] = self.scaled
        for levels in column[self.level].T:
            own = np.flatnonzero(levels >= 0)
            self.inputs[own, self.scaled.shape[1] + levels[own]] = 1.0
        self.inputs[:, -1] = 1.0
        parts = [np.flatnonzero(self.part == part) for part in range(PARTS)]
        self.squares = np.stack([self.inputs[p].T @ self.inputs[p] for p in parts])
        self.products = np.stack([self.inputs[p].T @ self.y[p] for p in parts])

    def learn(self, without: int | None = None) -> Learnt:
        """From all rows, or from those of the other parts."""
        used = [part for part in range(PARTS) if part != without]
        damping = np.full(self.inputs.shape[1], DAMPING)
        damping[-1] = CONSTANT_DAMPING
        line = scipy.linalg.solve(
            self.squares[used].sum(0) + np.diag(damping),
            self.products[used].sum(0),
            assume_a="pos",
        )
        mine = self.part != without if without is not None else np.ones(len(self.rows), bool)
        references = self.order[mine[self.order]][:MOST_REFERENCES]
        y, outputs = self.y[mine], self.y.shape[1]
        # Attributes
        wide = self.scaled.shape[1]
        factor = np.sqrt((line[:wide] ** 2).sum(1) + NUMBER_SHARE**2)
        contributions = np.zeros((self.offsets[-1], outputs))
        contributions[self.line_levels] = line[wide:-1]
        for place in range(self.codes.shape[1]):
            own = slice(self.offsets[place], self.offsets[place + 1])
            mean = contributions[self.level[references, place]].mean(0) if len(references) else 0.0
            contributions[own] -= mean
        contributions = contributions.astype(np.float32).astype(np.float64)
        by_level = contributions[self.level[references]]
        by_level = by_level.reshape(len(references), self.codes.shape[1] * outputs)
        attributes = np.column_stack([self.scaled[references] * factor, by_level])
        spread = attributes.var(0) if len(references) else np.zeros(attributes.shape[1])
        chosen = np.sort(np.argsort(-spread, kind="stable")[:MOST_ATTRIBUTES])
        # Places
        place_center, place_scale = self._map()
        residual = self.y - self.inputs @ line
        level_means, integer_means, others = self._means(mine, y)
        group_center, group_scale = np.zeros(others.shape[1]), np.ones(others.shape[1])
        if len(y):
            group_center, spread = others.mean(0), others.std(0)
            group_scale = np.where(spread > 1e-6, spread, 1.0)
        return Learnt(
            fill=self.fill,
            center=self.center,
            scale=self.scale,
            place_center=place_center,
            place_scale=place_scale,
            factor=factor,
            contributions=contributions,
            chosen=chosen,
            places=places(self._filled()[references], self.coordinates, place_center, place_scale),
            attributes=attributes[:, chosen],
            values=np.stack([residual, self.y], 1)[references],
            level_means=level_means,
            integer_means=integer_means,
            group_center=group_center,
            group_scale=group_scale,
            line=line,
        )

    def residuals(self, learnt: Learnt, part: int) -> Numbers:
        """(m, A) of a part's rows, from a line learnt without them."""
        own = self.part == part
        residuals: Numbers = self.y[own] - self.inputs[own] @ learnt.line
        return residuals

    def _map(self) -> tuple[Numbers, Numbers]:
        """Center and scale of the coordinates: one spread for both, and a degree of longitude as
        long as one of latitude."""
        if self.coordinates is None:
            return np.zeros(2), np.ones(2)
        pair = list(self.coordinates)
        cells, center = self._filled()[:, pair], self.center[pair]
        stretch = np.ones(2)
        if (np.abs(cells) <= DEGREES).all():
            stretch[1] = max(np.cos(np.deg2rad(center[0])), 0.01)
        spread = float(np.sqrt(((self.scale[pair] * stretch) ** 2).mean()))
        return center, spread / stretch

    def _means(self, mine: NDArray[np.bool_], y: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Means by level, by integer, and (r, G·A) of each row without its own target."""
        outputs = y.shape[1]
        level_means = np.zeros((self.offsets[-1], outputs))
        integer_means = np.zeros((*self.groups.values.shape, outputs))
        apart = [np.zeros((len(y), 0))]
        for place in self.groups.categorical:
            levels = self.level[mine, place]
            means, others = _group_means(levels, y, self.offsets[-1])
            own = slice(self.offsets[place], self.offsets[place + 1] - 1)  # without the unknown
            level_means[own] = means[own]
            apart.append(others)
        for row, place in enumerate(self.groups.numeric):
            values = self.groups.values[row]
            cells = self.numbers[mine, place]
            level = np.searchsorted(values[~np.isnan(values)], cells)  # NaN comes last
            means, others = _group_means(level, y, len(values) + 1)
            integer_means[row] = means[:-1]
            apart.append(np.where(np.isnan(cells)[:, None], 0.0, others))
        return level_means, integer_means, np.concatenate(apart, 1)


def places(
    filled: Numbers, coordinates: tuple[int, int] | None, center: Numbers, scale: Numbers
) -> Numbers:
    """(r, 2) points on the map; zeros without coordinates."""
    if coordinates is None:
        return np.zeros((len(filled), 2))
    scaled = (filled[:, list(coordinates)] - center) / scale
    return np.clip(scaled, -FARTHEST_PLACE, FARTHEST_PLACE)


def _group_means(level: Codes, y: Numbers, levels: int) -> tuple[Numbers, Numbers]:
    """(levels, A), and (r, A) of each row's level without the row."""
    counts = np.bincount(level, minlength=levels)[:, None]
    sums = np.stack([np.bincount(level, column, minlength=levels) for column in y.T], 1)
    others = (sums[level] - y) / (counts[level] - 1 + PRIOR_ROWS)
    return sums / (counts + PRIOR_ROWS), others
