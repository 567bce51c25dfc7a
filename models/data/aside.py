"""Sets rows aside: the holdout, and the slice of a fold that early stopping watches.

The holdout is removed before anything is resolved or learnt: it must not influence the target's
transform, the levels, the recipe or what a model keeps about its table. Both respect the type of
the folds: whole groups for `group`, the latest rows for `time`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.randomness import stream_seed
from models.spec import TrainingSpec
from models.tables.profile import Profile

Rows = NDArray[np.int64]

# Quantile bins of the target that stratified folds spread evenly; fewer if a bin would hold fewer
# rows than there are folds.
STRATA = 10


def seen_rows(spec: TrainingSpec, profile: Profile) -> int:
    """Number of rows that have a target and are not in the holdout; approximate if the holdout
    consists of whole groups or times."""
    missing = {column.name: column.missing for column in profile.columns}
    rows = profile.rows - missing.get(spec.target, 0)
    return rows if spec.holdout is None else rows - _share(spec.holdout.fraction, rows)


def groups_needed(spec: TrainingSpec) -> int:
    """The fewest groups that `group` folds need, not counting the holdout's.

    With early stopping, each fold trains on at least one group and watches another.
    """
    return 4 if spec.k_folds == 2 and spec.watched_fraction is not None else spec.k_folds


def times_needed(spec: TrainingSpec) -> int:
    """The fewest distinct times that `time` folds need, not counting the holdout's."""
    return spec.k_folds + times_trained(spec)


def times_trained(spec: TrainingSpec) -> int:
    """The fewest times in a fold's training rows. Early stopping watches the last of them."""
    return 1 if spec.watched_fraction is None else 2


def set_holdout_aside(
    spec: TrainingSpec, rows: int, column: np.ndarray | None, strata: Rows | None
) -> tuple[Rows, Rows]:
    """Indices of some rows: (those that folds may see, the holdout), both in the rows' order.

    `column` (n,): the groups of `group` folds or the times of `time` folds. `strata` (n,): as for
    `set_aside`.

    Raises
    ------
    ValueError: there are too few groups or times.
    """
    every = np.arange(rows)
    if spec.holdout is None:
        return every, every[:0]
    keep = groups_needed(spec) if spec.folds.type == "group" else times_needed(spec)
    if spec.folds.type not in ("group", "time"):
        keep = spec.k_folds
    fraction = spec.holdout.fraction
    seen, holdout = set_aside(spec, every, column, strata, fraction, "holdout", keep)
    return np.sort(seen), np.sort(holdout)


def set_aside(
    spec: TrainingSpec,
    rows: Rows,
    column: np.ndarray | None,
    strata: Rows | None,
    fraction: float,
    purpose: str,
    keep: int,
) -> tuple[Rows, Rows]:
    """Split off a fraction of the rows: (kept, set aside).

    `strata` (n,), by row of the table: rows of shuffled and stratified folds are split within
    them. `keep`: how many groups of `group` folds, times of `time` folds, or rows of each stratum
    must be left.

    Raises
    ------
    ValueError: there are too few groups or times.
    """
    seed = stream_seed(spec.seed, purpose) % 2**32
    count = _share(fraction, len(rows))
    match spec.folds.type:
        case "time":
            assert column is not None
            ordered = rows[np.argsort(column[rows], kind="stable")]
            (cut,) = cuts_in_time(spec, column[ordered], [len(rows) - count], keep)
            return ordered[:cut], ordered[cut:]
        case "group":
            assert column is not None
            groups, sizes = np.unique(column[rows], return_counts=True)
            if len(groups) <= keep:
                raise ValueError(
                    f"they have too few groups by '{spec.folds.column}' to set some aside for "
                    "early stopping or a holdout"
                )
            order = np.random.default_rng(seed).permutation(len(groups))
            wanted = int(np.searchsorted(np.cumsum(sizes[order]), count))
            taken = min(max(1, wanted), len(groups) - keep)
            aside = np.isin(column[rows], groups[order[:taken]])
            return rows[~aside], rows[aside]
        case _:
            # The order of scikit-learn's `train_test_split`, which the API does not import.
            shuffled = rows[np.random.RandomState(seed).permutation(len(rows))]
            if strata is not None:
                aside = _spread(strata[shuffled], count, keep)
                return shuffled[~aside], shuffled[aside]
            return shuffled[count:], shuffled[:count]


def _spread(strata: Rows, count: int, keep: int) -> NDArray[np.bool_]:
    """(n,) `count` rows at the most: about as many of each stratum as its share, at least one of
    each while `count` allows, and never one of its last `keep`."""
    order = np.argsort(strata, kind="stable")
    sizes = np.bincount(strata)
    starts = np.cumsum(sizes) - sizes
    own = strata[order]
    number = np.empty(len(strata), np.int64)  # of a row in its stratum, from 0
    number[order] = np.arange(len(strata)) - starts[own]
    share = np.where(number == 0, 0.0, (number + 0.5) / sizes[strata])
    free = np.flatnonzero(number < sizes[strata] - keep)
    chosen = np.zeros(len(strata), bool)
    chosen[free[np.argsort(share[free], kind="stable")[:count]]] = True
    return chosen


def cuts_in_time(
    spec: TrainingSpec, times: np.ndarray, wanted: Sequence[int], keep: int
) -> list[int]:
    """Where to cut rows in order of time: at the wanted places. A cut that would separate rows of
    one time moves before them, so that all go to the later side.

    Parameters
    ----------
    times : (n,) ascending
    wanted : index 0 … n of the first row after each cut, ascending
    keep : how many times must be before the first cut

    Raises
    ------
    ValueError: there are too few times for one between every two cuts.
    """
    starts = np.flatnonzero(np.diff(times, prepend=-np.inf))
    if len(starts) < keep + len(wanted):
        raise ValueError(
            f"they have {len(starts)} distinct times in '{spec.folds.column}' and need "
            f"{keep + len(wanted)}: rows of the same time stay together"
        )
    cuts = []
    place = keep - 1
    for ahead, ideal in zip(range(len(wanted), 0, -1), wanted, strict=True):
        own = int(np.searchsorted(starts, ideal, side="right")) - 1
        place = min(max(place + 1, own), len(starts) - ahead)
        cuts.append(int(starts[place]))
    return cuts


def folds_in_time(spec: TrainingSpec, times: np.ndarray) -> list[tuple[Rows, Rows]]:
    """Each fold's rows to learn from, and the later ones to score; `times` (n,).

    Raises
    ------
    ValueError: there are too few times.
    """
    rows = np.argsort(times, kind="stable")
    size = len(rows) // (spec.k_folds + 1)
    wanted = [len(rows) - size * ahead for ahead in range(spec.k_folds, 0, -1)]
    cuts = cuts_in_time(spec, times[rows], wanted, times_trained(spec))
    return [(rows[:a], rows[a:b]) for a, b in pairwise([*cuts, len(rows)])]


def _share(fraction: float, rows: int) -> int:
    return max(1, round(fraction * rows))
