"""Columns that name what several rows belong to: a patient, a machine, a customer.

Shuffled folds put rows of one entity on both sides of a split. A network that recognises the entity
scores well, but new entities are a case that was never measured. An ordinary category, such as a
neighbourhood, looks similar, but its levels occur again in new rows. So a column of entities must
pass two tests: the target is more alike within it than chance explains, and it looks like names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.data.aside import groups_needed
from models.planning.review.sample import Codes, Numbers, Sample, level_codes, standard_ranks
from models.planning.review.warning import SpecWarning
from models.spec import TrainingSpec
from models.tables.arrays import as_numbers
from models.tables.kinds import ID_NAME
from models.tables.profile import ColumnProfile, Profile

ENTITY_NAME = re.compile(
    r"(?i)(?:^|[_\-. ])(?:patient|subject|participant|respondent|person|customer|client|user|member"
    r"|student|pupil|employee|driver|player|household|family|animal|device|sensor|machine|engine"
    r"|vehicle|unit|specimen|sample|account|session|serial|case)s?(?:$|[_\-. ])"
)
# Names of categories whose levels occur again in new rows, whatever the column holds.
CATEGORY_NAME = re.compile(
    r"(?i)(?:town|city|neighbou?rhood|suburb|district|region|county|state|country|zone|zip|postal"
    r"|postcode|street|area|month|week|year|quarter|season|hour|brand|make|model|category|type"
    r"|class|group|grade|colou?r|style)"
)
# Letters and a number: P017, dev-3.
CODE = r"^[A-Za-z]{0,8}[-_/ ]?(?P<number>[0-9]+)[A-Za-z]?$"
ENOUGH = 0.95

# How alike the target is within a level: the intraclass correlation of its ranks, and its size in
# standard errors. Chance exceeds the latter in one of 10 million columns.
LEAST_ALIKE = 0.1
LEAST_ERRORS = 5.0
# If rows with adjacent values are nearly as alike, the number is a measurement, not a name.
NEIGHBOUR_SHARE = 0.5

# Without a name that shows it: at least this many entities, with few rows each.
LEAST_ENTITIES = 20
MOST_ROWS_EACH = 30
MOST_ROWS_EACH_CODE = 15  # for words with a number, which may be levels of a category
# Share of rows that repeat an earlier level.
LEAST_REPEATED = 0.2
# The variance of random level sizes is their mean; repeated measurements vary less.
BALANCED = 0.3


@dataclass(frozen=True)
class Candidate:
    """A column that may name entities: (n,) codes of its levels, in the order of their numbers."""

    column: ColumnProfile
    codes: Codes
    sizes: Codes
    has_numbers: bool

    @property
    def rows_each(self) -> float:
        return len(self.codes) / len(self.sizes)

    @property
    def is_named(self) -> bool:
        name = self.column.name
        return bool(ID_NAME.search(name) or ENTITY_NAME.search(name))

    @property
    def is_many_of_few_rows(self) -> bool:
        return len(self.sizes) >= LEAST_ENTITIES and self.rows_each <= MOST_ROWS_EACH

    @property
    def is_numbered_or_balanced(self) -> bool:
        if self.has_numbers and self.column.storage == "number":
            return True
        numbered = self.has_numbers and self.rows_each <= MOST_ROWS_EACH_CODE
        return numbered or float(self.sizes.var()) < BALANCED * self.rows_each


def repeated_entities(
    spec: TrainingSpec, profile: Profile, sample: Sample
) -> Iterator[SpecWarning]:
    """Columns whose levels are entities with several rows, if the folds split them."""
    ranks = standard_ranks(sample.target)
    columns = [column for column in profile.columns if _may_repeat(column, spec, profile)]
    found: list[Candidate] = []
    doubtful: list[Candidate] = []
    for column, cells in sample.read(columns):
        candidate = _candidate(column, cells)
        if candidate is None or not _is_alike(candidate, ranks):
            continue
        if candidate.is_named:
            found.append(candidate)
        elif candidate.is_many_of_few_rows:
            (found if candidate.is_numbered_or_balanced else doubtful).append(candidate)
    if doubtful:
        others = [column for column in profile.columns if column.name != spec.target]
        found += _with_constants(doubtful, others, sample)
    for candidate in found:
        name = candidate.column.name
        folds = f'{{"folds": {{"type": "group", "column": "{name}"}}}}'
        yield SpecWarning(
            "repeated_entities",
            f"'{name}' has {len(candidate.sizes):,} values of {candidate.rows_each:.1f} rows each, "
            f"and '{spec.target}' is alike within them. {spec.folds.type.capitalize()} folds train "
            "on and score rows of the same values, so the metrics and intervals do not hold for "
            f"new values of '{name}'. If you predict new values, use {folds}",
            name,
        )


def _with_constants(
    candidates: list[Candidate], columns: list[ColumnProfile], sample: Sample
) -> list[Candidate]:
    """Candidates within whose levels another column is constant, like a patient's birth year."""
    found: dict[str, Candidate] = {}
    for column, cells in sample.read(columns):
        codes, _ = level_codes(cells)
        for candidate in candidates:
            name = candidate.column.name
            if name not in (column.name, *found) and _is_constant_within(candidate, codes):
                found[name] = candidate
    return list(found.values())


def _may_repeat(column: ColumnProfile, spec: TrainingSpec, profile: Profile) -> bool:
    present = profile.rows - column.missing
    needed = groups_needed(spec) + (spec.holdout is not None)
    return (
        column.name != spec.target
        and column.storage in ("number", "text")
        and column.distinct >= max(needed, 3)
        and present - column.distinct >= LEAST_REPEATED * profile.rows
        and not CATEGORY_NAME.search(column.name)
    )


def _candidate(column: ColumnProfile, cells: pa.ChunkedArray) -> Candidate | None:
    """None: the column holds fractions."""
    codes, count = level_codes(cells)
    has_numbers = column.storage == "number"
    if has_numbers:
        values = as_numbers(cells)
        if (values[~np.isnan(values)] % 1).any():
            return None
    else:
        levels = pc.drop_null(cells.unique())
        numbers = pc.extract_regex(levels.take(pc.sort_indices(levels)), CODE)
        has_numbers = numbers.null_count <= (1 - ENOUGH) * len(levels)
        if has_numbers:
            digits = pc.struct_field(numbers, "number").to_pylist()
            order = np.argsort([float(one or "inf") for one in digits], kind="stable")
            places = np.append(np.argsort(order), len(order))  # missing ones stay last
            codes = places[codes]
    return Candidate(column, codes, np.bincount(codes, minlength=count), has_numbers)


def _is_alike(candidate: Candidate, ranks: Numbers) -> bool:
    """Whether the target is alike within levels by more than chance, and less alike between
    adjacent levels. Each level counts once, so that a large one does not dominate."""
    several = candidate.sizes > 1
    sizes = candidate.sizes[several]
    if len(sizes) < 2:
        return False
    sums = np.bincount(candidate.codes, ranks, len(several))[several]
    squares = np.bincount(candidate.codes, ranks**2, len(several))[several]
    pairs = sizes * (sizes - 1)
    alike = float(((sums**2 - squares) / pairs).mean())
    error = float((2 / pairs).sum()) ** 0.5 / len(sizes)  # for unrelated rows
    if alike < LEAST_ALIKE or alike < LEAST_ERRORS * error:
        return False
    if not candidate.has_numbers or ID_NAME.search(candidate.column.name):
        return True
    means = sums / sizes
    return float((means[1:] * means[:-1]).mean()) < NEIGHBOUR_SHARE * alike


def _is_constant_within(candidate: Candidate, codes: Codes) -> bool:
    """Whether a column is the same in all rows of an entity, which chance does not explain."""
    shares = np.bincount(codes) / len(codes)
    several = candidate.sizes > 1
    sizes, counts = np.unique(candidate.sizes[several], return_counts=True)
    by_chance = float(np.average([(shares**size).sum() for size in sizes], weights=counts))
    pairs = candidate.codes * (codes.max() + 1) + codes
    values_in = np.bincount(np.unique(pairs) // (codes.max() + 1), minlength=len(several))
    return by_chance < 0.5 and float((values_in[several] == 1).mean()) >= ENOUGH
