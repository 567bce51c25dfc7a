"""The classes of a target column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.objectives.base import TargetColumn
from models.spec import TrainingSpec
from models.tables.arrays import as_levels

MOST_CLASSES = 1_000
# The class of rows whose own has fewer rows than there are folds.
OTHER = "(other)"
# Pairs of which the second is the positive class.
AFFIRMATIVE = (("0", "1"), ("no", "yes"), ("n", "y"), ("false", "true"), ("negative", "positive"))


def counted(column: pa.ChunkedArray) -> dict[str, int]:
    """The rows of each class, in the classes' order: of numbers by size, of words alphabetical."""
    found = pc.value_counts(as_levels(column).drop_null())
    counts = dict(
        zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)
    )
    is_number = pa.types.is_floating(column.type)
    return dict(sorted(counts.items(), key=lambda pair: float(pair[0]) if is_number else pair[0]))


def least_rows(spec: TrainingSpec) -> int:
    """The fewest rows of a class: each fold scores one, and the holdout has one."""
    return spec.k_folds + (spec.holdout is not None)


def rare(counts: Mapping[str, int], spec: TrainingSpec) -> list[str]:
    """The classes with fewer rows."""
    return [level for level, rows in counts.items() if rows < least_rows(spec)]


def read(column: pa.ChunkedArray, spec: TrainingSpec) -> TargetColumn:
    """Classes as indices; rare ones are merged if the spec says so."""
    counts = counted(column)
    merged = set(rare(counts, spec)) if spec.rare_classes == "merge" else set()
    levels = [level for level in counts if level not in merged]
    if merged and OTHER not in levels:
        levels.append(OTHER)
    places = {level: place for place, level in enumerate(levels)}
    texts = as_levels(column)
    known = list(counts)
    codes = np.array([places[OTHER if level in merged else level] for level in known] + [-1])
    found = pc.fill_null(pc.index_in(texts, value_set=pa.array(known, pa.string())), len(known))
    values = codes[found.to_numpy()].astype(np.float64)
    values[values < 0] = np.nan
    return TargetColumn(values, tuple(levels))


def positive_of(levels: Sequence[str], rows: Sequence[float], wanted: str | None) -> int | None:
    """The index of the positive one of two classes: the wanted one, otherwise the affirmative one,
    otherwise the rarer one. None for more classes."""
    if len(levels) != 2:
        return None
    if wanted in levels:
        return levels.index(wanted)
    first, second = (level.lower() for level in levels)
    if (first, second) in AFFIRMATIVE or (second, first) in AFFIRMATIVE:
        return int((first, second) in AFFIRMATIVE)
    return int(rows[1] <= rows[0])


def alike(levels: Sequence[str]) -> list[list[str]]:
    """Classes that differ only by case or blanks."""
    groups: dict[str, list[str]] = {}
    for level in levels:
        groups.setdefault(" ".join(level.casefold().split()), []).append(level)
    return [group for group in groups.values() if len(group) > 1]
