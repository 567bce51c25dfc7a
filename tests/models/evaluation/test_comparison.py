"""Whether a model is better by more than chance, against tables of known errors."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.evaluation.comparison import UNIT, Comparison, compare
from models.objectives import CLASSIFICATION, OBJECTIVES, REGRESSION
from models.objectives.base import Yardstick
from models.objectives.classification.objective import TRUE_PROBABILITY
from models.serving.manifest import Manifest


def of_loss(loss: str) -> Yardstick:
    model = Manifest(target="price", spec={"loss": loss, "members_per_fold": 1}, **NOTHING)
    return OBJECTIVES[REGRESSION].yardstick(model, model)


NOTHING: dict[str, Any] = {
    "numeric": [],
    "categorical": [],
    "inputs": {},
    "members": 1,
    "metrics": {},
    "receipt": {},
}
RMSE, MAE = of_loss("squared_error"), of_loss("absolute_error")
ROWS, FOLDS, GROUPS = 200, 5, 40
PAIRS = 400
# What one model of a pair errs by: (n,) from its folds (n,), the groups (n,) and chance.
Errors = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def out_of_fold(errors: np.ndarray, folds: np.ndarray, groups: np.ndarray | None) -> bytes:
    rows = np.arange(len(errors))
    columns = {"row": rows, "fold": folds, "actual": rows * 0.0, "prediction": errors}
    file = io.BytesIO()
    pq.write_table(pa.table(columns | ({} if groups is None else {UNIT: groups})), file)
    return file.getvalue()


def share_better(errors: Errors, *, by_group: bool = False, scale: float = 1.0) -> float:
    """Of pairs of models with the same distribution of errors, the challenger's times `scale`."""
    chance = np.random.default_rng(0)
    better = 0
    for _ in range(PAIRS):
        groups = chance.integers(0, GROUPS, ROWS)
        files = []
        for factor in (scale, 1.0):
            folds = chance.permutation(ROWS) % FOLDS
            drawn = factor * errors(folds, groups, chance)
            files.append(out_of_fold(drawn, folds, groups if by_group else None))
        found = compare(files[0], files[1], RMSE)
        assert found is not None
        better += found.is_better
    return better / PAIRS


def independent(folds: np.ndarray, _groups: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return chance.normal(size=len(folds))


def alike_in_a_fold(
    folds: np.ndarray, _groups: np.ndarray, chance: np.random.Generator
) -> np.ndarray:
    return chance.normal(size=len(folds)) * np.exp(chance.normal(0, 0.3, FOLDS))[folds]


def alike_in_a_group(
    folds: np.ndarray, groups: np.ndarray, chance: np.random.Generator
) -> np.ndarray:
    return chance.normal(size=len(folds)) + chance.normal(size=GROUPS)[groups]


@pytest.mark.parametrize("errors", [independent, alike_in_a_fold])
def test_of_models_alike_few_are_better(errors: Errors) -> None:
    assert share_better(errors) <= 0.1


def test_groups_err_together() -> None:
    assert share_better(alike_in_a_group) > 0.1
    assert share_better(alike_in_a_group, by_group=True) <= 0.1


def test_a_model_that_errs_a_third_less_is_better() -> None:
    assert share_better(independent, scale=2 / 3) > 0.95


def test_the_standard_error_is_that_of_repeated_tables() -> None:
    chance = np.random.default_rng(0)
    folds = np.arange(ROWS) % FOLDS
    found = []
    for _ in range(PAIRS):
        shared = chance.normal(size=ROWS)
        first, second = (shared + chance.normal(0, 0.5, ROWS) for _ in range(2))
        pair = compare(out_of_fold(first, folds, None), out_of_fold(second, folds, None), MAE)
        assert pair is not None
        found.append(pair)
    spread = np.std([pair.difference for pair in found])
    assert np.median([pair.standard_error for pair in found]) == pytest.approx(spread, rel=0.2)


def test_classes_are_compared_by_log_loss() -> None:
    """A probability of 0 for the true class is as bad as one can be, but not infinitely bad."""
    model = Manifest(task=CLASSIFICATION, target="species", spec={}, **NOTHING)
    yardstick = OBJECTIVES[CLASSIFICATION].yardstick(model, model)

    def file(probabilities: np.ndarray) -> bytes:
        found = io.BytesIO()
        rows = np.arange(len(probabilities))
        columns = {"row": rows, "fold": rows % FOLDS, TRUE_PROBABILITY: probabilities}
        pq.write_table(pa.table(columns), found)
        return found.getvalue()

    ours, theirs = np.linspace(0.5, 1, ROWS), np.linspace(0.2, 1, ROWS)
    found = compare(file(ours), file(theirs), yardstick)
    assert found is not None
    assert found.metric == "log_loss"
    assert found.challenger == pytest.approx(-np.log(ours).mean())
    assert found.champion == pytest.approx(-np.log(theirs).mean())
    assert found.is_better
    wrong = compare(file(ours), file(np.where(theirs < 0.3, 0.0, theirs)), yardstick)
    assert wrong is not None
    assert np.isfinite([wrong.champion, wrong.difference, wrong.standard_error]).all()
    assert wrong.champion > found.champion


def test_equal_models_differ_by_nothing() -> None:
    errors, folds = np.linspace(-1, 2, ROWS), np.arange(ROWS) % FOLDS
    file = out_of_fold(errors, folds, None)
    rmse = float(np.sqrt(np.mean(errors**2)))
    same = compare(file, file, RMSE)
    assert same == Comparison("rmse", ROWS, pytest.approx(rmse), pytest.approx(rmse), 0, 0)
    assert not same.is_better
    perfect = out_of_fold(errors * 0, folds, None)
    found = compare(perfect, file, RMSE)
    assert found is not None
    assert found.is_better
