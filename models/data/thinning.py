"""The same folds with fewer training rows, for errors against rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from models.data.aside import Rows, set_aside
from models.data.design import Design
from models.data.folds import FoldRows
from models.objectives import objective_of
from models.spec import TrainingSpec
from models.spec.training import CURVE_HALVINGS


def thin(spec: TrainingSpec, design: Design, folds: Sequence[FoldRows]) -> list[list[FoldRows]]:
    """The folds with a half, a quarter and an eighth of their rows for training and for early
    stopping, each a random part of the one before. They score the same rows.

    Of `group` folds whole groups are left out, because new rows come in new groups too. Of classes
    every one that a fold has stays.
    """
    thinned: list[list[FoldRows]] = []
    for halving in range(CURVE_HALVINGS):
        before = thinned[-1] if thinned else folds
        thinned.append(
            [
                replace(
                    fold,
                    train=_half(spec, design, fold.train, f"{halving}/train/{number}"),
                    watched=_half(spec, design, fold.watched, f"{halving}/watched/{number}"),
                )
                for number, fold in enumerate(before)
            ]
        )
    return thinned


def _half(spec: TrainingSpec, design: Design, rows: Rows, purpose: str) -> Rows:
    """A random half of some rows, at least one of them, or one group."""
    column = design.fold_column if spec.folds.type == "group" else None
    parts = len(rows) if column is None else len(set(column[rows].tolist()))
    if parts < 2:
        return rows
    if column is None:  # folds in time too: thinner, not older
        spec = spec.model_copy(update={"folds": type(spec.folds)()})
    strata = objective_of(spec).strata_aside(design.target)
    kept, _ = set_aside(spec, rows, column, strata, 0.5, f"thin/{purpose}", keep=1)
    return kept
