"""What each fold of a run did with each row of its table, and the same rows in a later table.

A run that starts from an earlier model's networks may score a row in fold f only if the networks of
the earlier fold f have not learnt from it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.data.aside import STRATA, Rows, folds_in_time
from models.objectives import objective_of
from models.randomness import stream_seed
from models.spec import TrainingSpec
from models.tables.arrays import as_levels, as_numbers
from models.tables.stored import names_of, read_columns

# Of a row in a fold. Rows of the holdout, and rows without a target, are unseen in every fold.
UNSEEN, TRAINED, WATCHED, SCORED = range(4)

Roles = NDArray[np.int8]


def write_roles(roles: Roles, path: Path) -> None:
    """As Parquet: a column for each fold, a row for each of the table's."""
    pq.write_table(pa.table({str(fold): own for fold, own in enumerate(roles.T)}), path)


def read_roles(path: Path) -> Roles:
    """The inverse of `write_roles`."""
    table = pq.read_table(path)
    return np.column_stack([table[name].to_numpy() for name in table.column_names])


@dataclass(frozen=True)
class EarlierRoles:
    """The roles that a table's rows had in an earlier run on another table.

    of : (n, k) by row of the table; a row that is new is unseen
    changed : how many rows that the earlier folds learnt from are not in this table
    learnt : how many they learnt from
    """

    of: Roles
    changed: int
    learnt: int


def match_roles(roles: Roles, before: Path, after: Path, columns: Collection[str]) -> EarlierRoles:
    """Find the rows of the table `before`, whose roles are given, in the table `after`.

    Rows are the same if the `columns` that both tables have are equal cell by cell. Of several
    copies the first is the first, and so on; further copies have the role of the last.

    Raises
    ------
    TableDamaged
    """
    shared = sorted({*names_of(before)} & {*names_of(after)} & {*columns})
    old, new = _contents(before, after, shared)
    order = np.argsort(old, kind="stable")
    first = np.searchsorted(old[order], new, side="left")
    copies = np.searchsorted(old[order], new, side="right") - first
    number = pd.Series(new).groupby(new).cumcount().to_numpy()
    known = copies > 0
    place = order[(first + np.minimum(number, copies - 1))[known]]
    found = np.zeros((len(new), roles.shape[1]), np.int8)
    found[known] = roles[place]
    learnt = ((roles == TRAINED) | (roles == WATCHED)).any(1)
    lost = learnt.copy()
    lost[place] = False
    return EarlierRoles(found, int(lost.sum()), int(learnt.sum()))


def _contents(before: Path, after: Path, names: list[str]) -> list[NDArray[Any]]:
    """A hash of each row of both tables."""
    tables = [read_columns(path, names) for path in (before, after)]
    frames: list[dict[str, np.ndarray]] = [{}, {}]
    for name in names:
        words = any(pa.types.is_string(table[name].type) for table in tables)
        for table, frame in zip(tables, frames, strict=True):
            column = table[name]
            frame[name] = as_levels(column).to_numpy() if words else as_numbers(column)
    return [
        pd.util.hash_pandas_object(pd.DataFrame(frame), index=False).to_numpy() for frame in frames
    ]


def kept_folds(
    spec: TrainingSpec,
    earlier: Roles,
    target: NDArray[np.float64],
    column: np.ndarray | None,
) -> list[tuple[Rows, Rows]] | None:
    """Each fold's rows to learn from and to score: a row is scored in the fold that scored it
    before, and new rows make the folds even. None: a group's rows lie in several earlier folds.

    `earlier` (n, k), `target` (n,) and `column` (n,) are those of the rows that folds may see.
    Folds in time follow the time instead.
    """
    if spec.folds.type == "time":
        assert column is not None
        return folds_in_time(spec, column)
    is_known = (earlier == SCORED).any(1)
    fold_of = np.where(is_known, (earlier == SCORED).argmax(1), -1)
    chance = np.random.default_rng(stream_seed(spec.seed, "new rows"))
    if spec.folds.type == "group":
        assert column is not None
        if not _join_groups(fold_of, column, spec.k_folds, chance):
            return None
    else:
        strata = np.zeros(len(target), np.int64)
        if spec.folds.type == "stratified":
            strata = objective_of(spec).strata(target, min(STRATA, len(target) // spec.k_folds))
        for stratum in np.unique(strata[~is_known]):
            own = strata == stratum
            fold_of[own] = _fill_up(fold_of[own], spec.k_folds, chance)
    rows = np.arange(len(target))
    return [(rows[fold_of != fold], rows[fold_of == fold]) for fold in range(spec.k_folds)]


def _fill_up(fold_of: Rows, folds: int, chance: np.random.Generator) -> Rows:
    """Give each row without a fold (−1) to one of the smallest."""
    new = chance.permutation(np.flatnonzero(fold_of < 0))
    sizes = np.bincount(fold_of[fold_of >= 0], minlength=folds)
    order = chance.permutation(folds)  # among equals
    # The sizes at which each fold takes one more.
    steps = sizes[order, None] + np.arange(len(new))
    filled = fold_of.copy()
    filled[new] = order[np.argsort(steps, axis=None, kind="stable")[: len(new)] // len(new)]
    return filled


def _join_groups(
    fold_of: Rows, column: np.ndarray, folds: int, chance: np.random.Generator
) -> bool:
    """Give each group its rows' fold, and new groups to the smallest fold, the largest first, in
    place; False if a group has several."""
    groups, group_of = np.unique(column, return_inverse=True)
    known = fold_of >= 0
    own = np.full(len(groups), -1)
    own[group_of[known]] = fold_of[known]
    if (own[group_of[known]] != fold_of[known]).any():
        return False
    sizes = np.bincount(group_of, minlength=len(groups))
    filled = np.bincount(own[own >= 0], weights=sizes[own >= 0], minlength=folds)
    new = chance.permutation(np.flatnonzero(own < 0))
    for group in new[np.argsort(-sizes[new], kind="stable")]:
        own[group] = filled.argmin()
        filled[own[group]] += sizes[group]
    fold_of[:] = own[group_of]
    return True


def scored_after_learning(earlier: Roles, pairs: Sequence[tuple[Rows, Rows]]) -> int:
    """How many rows are scored in a fold whose networks have learnt from them before."""
    learnt = (earlier == TRAINED) | (earlier == WATCHED)
    return int(sum(learnt[scored, fold].sum() for fold, (_, scored) in enumerate(pairs)))
