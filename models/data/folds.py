"""Dealing rows into folds, an early-stopping slice and a holdout."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedKFold,
    TimeSeriesSplit,
    train_test_split,
)

from models.data.features import groups_needed
from models.randomness import stream_seed
from models.spec import TrainingSpec

# Quantile bins of the target that stratified folds spread evenly; fewer where a bin would hold
# fewer rows than there are folds.
STRATA = 10

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class FoldRows:
    """Row numbers of one fold. `train`, `watched` and `validation` do not overlap."""

    train: Rows  # what the weights and the preprocessing are learnt on
    watched: Rows  # early stopping's slice, dealt from the fold's training rows
    validation: Rows  # scored out of fold, seen by nothing before that


@dataclass(frozen=True)
class Split:
    """All folds, and the rows that none of them sees."""

    folds: list[FoldRows]
    holdout: Rows


def split_rows(
    spec: TrainingSpec,
    target: NDArray[np.float64],
    column: np.ndarray | None = None,
) -> Split:
    """Deal the rows of a table.

    Raises ValueError where the rows with a target have too few groups.

    Parameters
    ----------
    target : shape (n,)
    column : shape (n,), the groups of `group` folds or the times of `time` folds.

    Notes
    -----
    The holdout keeps the meaning of the folds: whole groups for `group`, the latest rows for
    `time`. `time` folds are forward-chained: the earliest 1/(k + 1) of the rows only ever train,
    so they have no out-of-fold prediction.
    """
    rows = np.arange(len(target))
    holdout = rows[:0]
    if spec.holdout is not None:
        rows, holdout = _set_aside(
            rows, spec.holdout.fraction, spec, column, "holdout", keep=groups_needed(spec)
        )
    folds = []
    for fold, (train, validation) in enumerate(_folds(rows, spec, target, column)):
        watched = train[:0]
        if spec.early_stopping is not None:
            train, watched = _set_aside(
                train, spec.early_stopping.fraction, spec, column, f"watched/{fold}", keep=1
            )
        folds.append(FoldRows(train, watched, validation))
    return Split(folds, holdout)


def _folds(
    rows: Rows, spec: TrainingSpec, target: np.ndarray, column: np.ndarray | None
) -> Iterator[tuple[Rows, Rows]]:
    seed = stream_seed(spec.seed, "folds") % 2**32
    pairs: Iterable[tuple[Rows, Rows]]
    match spec.folds.type:
        case "shuffled":
            pairs = KFold(spec.k_folds, shuffle=True, random_state=seed).split(rows)
        case "stratified":
            bins = min(STRATA, len(rows) // spec.k_folds)
            edges = np.quantile(target[rows], np.linspace(0, 1, bins + 1)[1:-1])
            strata = np.searchsorted(edges, target[rows])
            splitter = StratifiedKFold(spec.k_folds, shuffle=True, random_state=seed)
            with warnings.catch_warnings():
                # Where many targets are equal a bin may have fewer rows than there are folds.
                warnings.filterwarnings("ignore", "The least populated class")
                pairs = list(splitter.split(rows, strata))
        case "group":
            assert column is not None
            groups = len(np.unique(column[rows]))
            if groups < spec.k_folds:
                raise ValueError(
                    f"they have {groups} groups by '{spec.folds.column}', and {spec.k_folds} folds "
                    "need one each"
                )
            splitter = GroupKFold(spec.k_folds, shuffle=True, random_state=seed)
            pairs = splitter.split(rows, groups=column[rows])
        case "time":
            assert column is not None
            rows = rows[np.argsort(column[rows], kind="stable")]
            pairs = TimeSeriesSplit(spec.k_folds).split(rows)
    for train, validation in pairs:
        yield rows[train], rows[validation]


def _set_aside(
    rows: Rows,
    fraction: float,
    spec: TrainingSpec,
    column: np.ndarray | None,
    purpose: str,
    keep: int,
) -> tuple[Rows, Rows]:
    """Split off a fraction of the rows in the manner of the folds: (kept, set aside).

    `keep`: as many groups as must be left of `group` folds.
    """
    seed = stream_seed(spec.seed, purpose) % 2**32
    count = max(1, round(fraction * len(rows)))
    match spec.folds.type:
        case "time":
            assert column is not None
            ordered = rows[np.argsort(column[rows], kind="stable")]
            return ordered[:-count], ordered[-count:]
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
            kept, aside = train_test_split(rows, test_size=count, random_state=seed)
            return kept, aside
