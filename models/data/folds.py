"""Assigns rows to folds: for training, for early stopping and for scores."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

from models.data.aside import Rows, cuts_in_time, set_aside, times_trained
from models.objectives import objective_of
from models.randomness import stream_seed
from models.spec import TrainingSpec

# Quantile bins of the target that stratified folds spread evenly; fewer if a bin would hold fewer
# rows than there are folds.
STRATA = 10


@dataclass(frozen=True)
class FoldRows:
    """Row numbers of one fold. `train`, `watched` and `validation` do not overlap."""

    train: Rows  # the weights and the preprocessing are learnt from these
    watched: Rows  # early stopping's slice, taken from the fold's training rows
    validation: Rows  # scored out of fold, not used before that

    @property
    def known(self) -> Rows:
        """All rows that the fold may learn from."""
        return np.concatenate([self.train, self.watched])

    def without_watching(self) -> FoldRows:
        """The fold if early stopping watches no rows."""
        return FoldRows(self.known, self.watched[:0], self.validation)


def split_rows(
    spec: TrainingSpec, target: NDArray[np.float64], column: np.ndarray | None = None
) -> list[FoldRows]:
    """Assign the rows, without the holdout, to folds.

    Raises ValueError if they have too few groups or times.

    Parameters
    ----------
    target : shape (n,)
    column : shape (n,), the groups of `group` folds or the times of `time` folds.

    Notes
    -----
    `time` folds are forward-chained: the earliest 1/(k + 1) of the rows are only used for training,
    so they have no out-of-fold prediction. Rows of the same time stay together.
    """
    folds = []
    for fold, (train, validation) in enumerate(_folds(spec, target, column)):
        watched = train[:0]
        if spec.watched_fraction is not None:
            fraction = spec.watched_fraction
            strata = objective_of(spec).strata_aside(target)
            train, watched = set_aside(
                spec, train, column, strata, fraction, f"watched/{fold}", keep=1
            )
        folds.append(FoldRows(train, watched, validation))
    return folds


def _folds(
    spec: TrainingSpec, target: np.ndarray, column: np.ndarray | None
) -> Iterator[tuple[Rows, Rows]]:
    rows = np.arange(len(target))
    seed = stream_seed(spec.seed, "folds") % 2**32
    pairs: Iterable[tuple[Rows, Rows]]
    match spec.folds.type:
        case "shuffled":
            pairs = KFold(spec.k_folds, shuffle=True, random_state=seed).split(rows)
        case "stratified":
            strata = objective_of(spec).strata(target, min(STRATA, len(rows) // spec.k_folds))
            splitter = StratifiedKFold(spec.k_folds, shuffle=True, random_state=seed)
            with warnings.catch_warnings():
                # If many targets are equal, a stratum may have fewer rows than there are folds.
                warnings.filterwarnings("ignore", "The least populated class")
                pairs = list(splitter.split(rows, strata))
        case "group":
            assert column is not None
            groups = len(np.unique(column))
            if groups < spec.k_folds:
                raise ValueError(
                    f"they have {groups} groups by '{spec.folds.column}', and {spec.k_folds} folds "
                    "need one each"
                )
            splitter = GroupKFold(spec.k_folds, shuffle=True, random_state=seed)
            pairs = splitter.split(rows, groups=column)
        case "time":
            assert column is not None
            rows = rows[np.argsort(column[rows], kind="stable")]
            size = len(rows) // (spec.k_folds + 1)
            wanted = [len(rows) - size * ahead for ahead in range(spec.k_folds, 0, -1)]
            cuts = cuts_in_time(spec, column[rows], wanted, times_trained(spec))
            pairs = [(rows[:a], rows[a:b]) for a, b in pairwise([*cuts, len(rows)])]
    yield from pairs
