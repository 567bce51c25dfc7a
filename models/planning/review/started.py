"""Whether a run that starts from an earlier model is scored on rows new to its networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.artifacts import EarlierModel
from models.data.design import Codes, Numbers, read_folds
from models.data.roles import (
    EarlierRoles,
    kept_folds,
    match_roles,
    read_roles,
    scored_after_learning,
)
from models.planning.review.warning import SpecWarning
from models.spec import TrainingSpec

NOT_OUT_OF_FOLD = "not_out_of_fold"
ROWS_MISSING = "earlier_rows_missing"


def find_roles(earlier: EarlierModel, parquet: Path) -> EarlierRoles:
    """The roles of a table's rows in the earlier run; raises TableDamaged."""
    return match_roles(read_roles(earlier.roles), earlier.parquet, parquet, earlier.columns)


def review_start(spec: TrainingSpec, earlier: EarlierModel, parquet: Path) -> list[SpecWarning]:
    """The objections to the start of a resolved spec; raises TableDamaged."""
    return start_warnings(spec, earlier, find_roles(earlier, parquet), *read_folds(parquet, spec))


def start_warnings(
    spec: TrainingSpec,
    earlier: EarlierModel,
    found: EarlierRoles,
    target: Numbers,
    column: np.ndarray | None,
    rows: Codes,
) -> list[SpecWarning]:
    """`target`, `column` and `rows` (n,): of the rows that folds may see, as in a design."""
    warnings = []
    pairs = kept_folds(spec, found.of[rows], target, column)
    learnt = 0 if pairs is None else scored_after_learning(found.of[rows], pairs)
    if pairs is None:
        warnings.append(
            SpecWarning(
                NOT_OUT_OF_FOLD,
                f"groups of '{spec.folds.column}' lie in several folds of {earlier.id}, so "
                "networks score rows that their first weights have learnt from, and the metrics "
                "flatter: use its folds, or leave out initialize_from",
                spec.folds.column,
            )
        )
    elif learnt:
        warnings.append(
            SpecWarning(
                NOT_OUT_OF_FOLD,
                f"{learnt} of {len(rows)} rows are scored by networks whose first weights, those "
                f"of {earlier.id}, have learnt from them, so the metrics flatter: use its folds, "
                "or leave out initialize_from",
            )
        )
    elif not earlier.is_out_of_fold:
        warnings.append(
            SpecWarning(
                NOT_OUT_OF_FOLD,
                f"networks of {earlier.id} have learnt from rows that they score, and so have "
                "those that start from them: the metrics flatter",
            )
        )
    if found.changed:
        warnings.append(
            SpecWarning(
                ROWS_MISSING,
                f"{found.changed} of {found.learnt} rows that {earlier.id} has learnt from are not "
                "in this table. Rows that were changed since, not removed, count as new, and may "
                "be scored by networks that know them",
            )
        )
    return warnings
