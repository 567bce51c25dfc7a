"""What stands in a scored row reaches that row's score and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from houses import Case, house_frame, lay, score, train

from models.evaluation.scores import Scores

FOLD = 2


def case_of(folder: Path, **spec: Any) -> Case:
    return lay(
        folder,
        house_frame(),
        **{
            "architecture": {"type": "mlp", "hidden_sizes": [6]},
            "max_epochs": 6,
            "optimizer": {"learning_rate": 0.05},
            "early_stopping": {"patience": 2, "fraction": 0.2},
            "preprocessing": {"target_transform": "none"},
            **spec,
        },
    )


def with_cells(case: Case, row: int, planted: str) -> Case:
    """The same case with something planted into one row."""
    numbers, codes, target = (
        array.copy() for array in (case.design.numbers, case.design.codes, case.design.target)
    )
    match planted:
        case "unseen level":
            codes[row] = [vocabulary.unknown for vocabulary in case.design.categorical]
        case "outlier":
            numbers[row] = 1e9
        case "huge outlier":
            numbers[row] = 1e300
        case "missing value":
            numbers[row] = np.nan
        case "outlying price":
            target[row] = 1e9
        case "huge price":
            target[row] = 1e60
    design = dataclasses.replace(case.design, numbers=numbers, codes=codes, target=target)
    return dataclasses.replace(case, design=design)


def scores_of(case: Case) -> Scores:
    return score(case, train(case))


def same(found: np.ndarray, expected: np.ndarray) -> None:
    """To rounding: other folds train on the row, may stop at another epoch, and batched products
    of more or fewer members round differently."""
    np.testing.assert_allclose(found, expected, rtol=1e-5)


CELLS = ["unseen level", "outlier", "huge outlier", "missing value"]
PRICES = ["outlying price", "huge price"]


@pytest.mark.parametrize("planted", [*CELLS, *PRICES])
def test_a_validation_row_leaves_its_fold_as_it_was(tmp_path: Path, planted: str) -> None:
    clean = case_of(tmp_path)
    row, *others = clean.folds[FOLD].validation
    before, after = scores_of(clean), scores_of(with_cells(clean, row, planted))
    assert after.folds[FOLD]["best_epoch"] == before.folds[FOLD]["best_epoch"]
    assert after.folds[FOLD]["stopped_by"] == before.folds[FOLD]["stopped_by"]
    same(after.out_of_fold[others], before.out_of_fold[others])
    if planted in CELLS:
        assert after.out_of_fold[row] != before.out_of_fold[row]
    else:
        same(after.out_of_fold[row], before.out_of_fold[row])


@pytest.mark.parametrize("planted", PRICES)
def test_the_first_row_of_the_table_is_no_exception(tmp_path: Path, planted: str) -> None:
    """Padding points at some row, and must not carry that row's price into the loss."""
    clean = case_of(tmp_path)
    fold = next(f for f, rows in enumerate(clean.folds) if 0 in rows.validation)
    others = np.setdiff1d(clean.folds[fold].validation, [0])
    before, after = scores_of(clean), scores_of(with_cells(clean, 0, planted))
    same(after.out_of_fold[others], before.out_of_fold[others])


@pytest.mark.parametrize("planted", [*CELLS, *PRICES])
def test_a_holdout_row_leaves_every_fold_as_it_was(tmp_path: Path, planted: str) -> None:
    clean = case_of(tmp_path, holdout={"fraction": 0.2})
    held_out = with_cells(dataclasses.replace(clean, design=clean.holdout), 0, planted).design
    before, after = scores_of(clean), scores_of(dataclasses.replace(clean, holdout=held_out))
    assert np.array_equal(after.out_of_fold, before.out_of_fold, equal_nan=True)
    assert after.assessment.metrics == before.assessment.metrics
    assert after.folds == before.folds
    assert after.holdout != before.holdout


@pytest.mark.parametrize("planted", CELLS)
def test_a_watched_row_teaches_nothing_but_when_to_stop(tmp_path: Path, planted: str) -> None:
    """With patience for all epochs only the choice of the best one can differ."""
    clean = case_of(tmp_path, early_stopping={"patience": 100, "fraction": 0.2}, max_epochs=1)
    row = clean.folds[FOLD].watched[0]
    before, after = scores_of(clean), scores_of(with_cells(clean, row, planted))
    validation = clean.folds[FOLD].validation
    same(after.out_of_fold[validation], before.out_of_fold[validation])


def test_a_training_row_does_teach(tmp_path: Path) -> None:
    """The counterpart, without which the tests above could not fail."""
    clean = case_of(tmp_path)
    row = clean.folds[FOLD].train[0]
    before, after = scores_of(clean), scores_of(with_cells(clean, row, "outlier"))
    validation = clean.folds[FOLD].validation
    change = np.abs(after.out_of_fold[validation] / before.out_of_fold[validation] - 1)
    assert change.max() > 0.01
