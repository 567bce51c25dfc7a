"""Assigns rows to folds: for training, for early stopping and for scores."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

from models.data.aside import STRATA, Rows, folds_in_time, set_aside
from models.data.roles import SCORED, TRAINED, UNSEEN, WATCHED, Roles, kept_folds
from models.objectives import objective_of
from models.randomness import stream_seed
from models.spec import TrainingSpec


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
    spec: TrainingSpec,
    target: NDArray[np.float64],
    column: np.ndarray | None = None,
    earlier: Roles | None = None,
) -> list[FoldRows]:
    """Assign the rows, without the holdout, to folds.

    Raises ValueError if they have too few groups or times.

    Parameters
    ----------
    target : shape (n,)
    column : shape (n,), the groups of `group` folds or the times of `time` folds.
    earlier : shape (n, k), the rows' roles in the run whose networks this one starts from.

    Notes
    -----
    `time` folds are forward-chained: the earliest 1/(k + 1) of the rows are only used for training,
    so they have no out-of-fold prediction. Rows of the same time stay together.
    """
    kept = None if earlier is None else kept_folds(spec, earlier, target, column)
    folds = []
    for fold, (train, validation) in enumerate(kept or _folds(spec, target, column)):
        watched = train[:0]
        if spec.watched_fraction is not None:
            roles = None
            if earlier is not None and kept is not None and spec.folds.type != "time":
                roles = earlier[train, fold]
            train, watched = _watch(spec, train, target, column, fold, roles)
        folds.append(FoldRows(train, watched, validation))
    return folds


def _watch(
    spec: TrainingSpec,
    rows: Rows,
    target: np.ndarray,
    column: np.ndarray | None,
    fold: int,
    roles: Roles | None,
) -> tuple[Rows, Rows]:
    """A fold's rows to train on, and those that early stopping watches.

    With the `roles` that the rows had in an earlier run of the fold, it watches the same ones, and
    its share of the new ones: the loss on rows that the first weights have learnt from says
    nothing.
    """
    fraction = spec.watched_fraction
    assert fraction is not None
    strata, purpose = objective_of(spec).strata_aside(target), f"watched/{fold}"
    if roles is None or not (roles == WATCHED).any():
        return set_aside(spec, rows, column, strata, fraction, purpose, keep=1)
    known, watched, new = (rows[roles == role] for role in (TRAINED, WATCHED, UNSEEN))
    if len(new) > 1:
        # Row by row: of a group that comes again, rows may be on either side already.
        spec = spec.model_copy(update={"folds": type(spec.folds)()})
        new, more = set_aside(spec, new, None, strata, fraction, purpose, keep=1)
        watched = np.concatenate([watched, more])
    return np.concatenate([known, new]), watched


def roles_of(folds: Sequence[FoldRows], rows: Rows, count: int) -> Roles:
    """(count, k) the roles of a table's rows; `rows` (n,): the index in the table of each row that
    the folds number."""
    roles = np.zeros((count, len(folds)), np.int8)
    for place, fold in enumerate(folds):
        parts = {TRAINED: fold.train, WATCHED: fold.watched, SCORED: fold.validation}
        for role, own in parts.items():
            roles[rows[own], place] = role
    return roles


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
            pairs = folds_in_time(spec, column)
    yield from pairs
