"""What a fold learns: the right numbers, and from its training rows alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from houses import Case, array_design, house_frame, lay

from models.data.design import Vocabulary
from models.data.preprocessing import FoldStatistics, learn, trainable_rows
from models.objectives.trained import learning_of
from models.spec import Preprocessing

MISSING = ["mean", "median", "zero", "drop_rows"]
SCALINGS = ["standard", "robust", "quantile", "none"]
BINS = 8
NAN = np.nan


def preprocessing(
    missing: str = "mean", scaling: str = "standard", transform: str = "none"
) -> Preprocessing:
    return Preprocessing.model_validate(
        {
            "numeric_missing": missing,
            "numeric_scaling": scaling,
            "target_transform": transform,
        }
    )


def learn_one(column: list[float], missing: str = "mean", scaling: str = "standard") -> Any:
    """(fill, center, scale) of one column; every row is a training row."""
    design = array_design(np.array(column)[:, None])
    learnt = learn(preprocessing(missing, scaling), design, [np.arange(len(column))])
    return learnt.fill.item(), learnt.center.item(), learnt.scale.item()


def learnt_of(case: Case, fold: int) -> dict[str, bytes]:
    learnt = learn(case.spec.preprocessing, case.design, [f.train for f in case.folds], BINS)
    target = learning_of(case.spec).target(
        [case.design.target[f.train] for f in case.folds], (), case.spec
    )
    of_target = {name: value[fold].numpy().tobytes() for name, value in target.state_dict().items()}
    return bits_of(learnt, fold, case) | of_target


def bits_of(learnt: FoldStatistics, fold: int, case: Case) -> dict[str, bytes]:
    """Everything one fold learnt, bit by bit; levels by name, for a new one moves the others."""
    used = learnt.bin_width[fold] > 0  # a column has as many bins as the fold with most
    bits = {
        "coordinates": repr(learnt.coordinates).encode(),
        "bin_columns": learnt.bin_columns[used].tobytes(),
        "bin_low": learnt.bin_low[fold, used].tobytes(),
        "bin_width": learnt.bin_width[fold, used].tobytes(),
    }
    bits |= {
        field.name: getattr(learnt, field.name)[fold].tobytes()
        for field in fields(learnt)
        if field.name not in ("seen", *bits)
    }
    names = [(v.name, level) for v in case.design.categorical for level in v.levels]
    seen = {name for name, is_seen in zip(names, learnt.seen[fold], strict=True) if is_seen}
    return bits | {"seen": repr(sorted(seen, key=repr)).encode()}


# Planted into rows that fold 1 must not learn from.


def plant_level(frame: pd.DataFrame, rows: np.ndarray) -> None:
    frame.loc[rows, "quarter"] = "planted"


def plant_outlier(frame: pd.DataFrame, rows: np.ndarray) -> None:
    frame.loc[rows, ["area", "year"]] = 1e9


def plant_missing(frame: pd.DataFrame, rows: np.ndarray) -> None:
    frame.loc[rows, ["area", "year"]] = NAN
    frame.loc[rows, ["quarter", "heating"]] = None


def plant_price(frame: pd.DataFrame, rows: np.ndarray) -> None:
    frame.loc[rows, "price"] = 1e9


@pytest.mark.parametrize("plant", [plant_level, plant_outlier, plant_missing, plant_price])
@pytest.mark.parametrize("part", ["validation", "watched", "holdout"])
def test_a_fold_learns_nothing_from_rows_it_does_not_train_on(
    tmp_path: Path, part: str, plant: Callable[[pd.DataFrame, np.ndarray], None]
) -> None:
    fold = 1
    spec = {"preprocessing": {"target_transform": "log"}, "holdout": {"fraction": 0.2}}
    frame = house_frame().astype({"year": float})
    clean = lay(tmp_path, frame, **spec)
    own = getattr(clean.laid[fold], part) if part != "holdout" else None
    plant(frame, clean.holdout.rows if own is None else clean.design.rows[own])
    planted = lay(tmp_path, frame, **spec)
    for missing, scaling in product(MISSING, SCALINGS):
        settings = preprocessing(missing, scaling, "log")
        before, after = (
            learnt_of(
                replace(case, spec=case.spec.model_copy(update={"preprocessing": settings})), fold
            )
            for case in (clean, planted)
        )
        assert after == before, (missing, scaling)


@pytest.mark.parametrize("plant", [plant_level, plant_outlier, plant_missing, plant_price])
def test_a_fold_learns_from_its_training_rows(
    tmp_path: Path, plant: Callable[[pd.DataFrame, np.ndarray], None]
) -> None:
    """The counterpart: the same things planted in a training row do change what is learnt."""
    spec = {"preprocessing": preprocessing(transform="log").model_dump()}
    frame = house_frame().astype({"year": float})
    clean = lay(tmp_path, frame, **spec)
    plant(frame, clean.laid[1].train[:20])
    planted = lay(tmp_path, frame, **spec)
    assert learnt_of(planted, 1) != learnt_of(clean, 1)


def test_each_fold_learns_its_own(tmp_path: Path) -> None:
    case = lay(tmp_path, house_frame())
    folds = [f.train for f in case.folds]
    together = learn(case.spec.preprocessing, case.design, folds, BINS)
    alone = learn(case.spec.preprocessing, case.design, folds[3:4], BINS)
    assert bits_of(together, 3, case) == bits_of(alone, 0, case)
    assert len(np.unique(together.center[:, 0])) == len(folds)


@pytest.mark.parametrize(
    ("missing", "fill"), [("mean", 4.0), ("median", 3.0), ("zero", 0.0), ("drop_rows", 4.0)]
)
def test_what_stands_in_for_a_missing_number(missing: str, fill: float) -> None:
    found, _, _ = learn_one([1.0, 2.0, NAN, 4.0, 9.0], missing)
    assert found == pytest.approx(fill, rel=1e-14)


@pytest.mark.parametrize(
    ("scaling", "center", "scale"),
    [
        ("standard", 4.0, np.sqrt(9.5)),
        ("robust", 3.0, 5.25 - 1.75),
        ("quantile", 1.0, 8.0),
        ("none", 0.0, 1.0),
    ],
)
def test_center_and_scale(scaling: str, center: float, scale: float) -> None:
    _, found_center, found_scale = learn_one([1.0, 2.0, NAN, 4.0, 9.0], scaling=scaling)
    assert found_center == pytest.approx(center, rel=1e-14)
    assert found_scale == pytest.approx(scale, rel=1e-14)


@pytest.mark.parametrize("common", [0.0, 100.0])
def test_robust_scaling_of_a_column_that_is_mostly_one_value(common: float) -> None:
    """No pool, no porch: the interquartile range is nothing, so the size of those that there are
    stands in for it."""
    rare = [common + 30, common + 40, common + 90]
    _, center, scale = learn_one([common] * 12 + rare, scaling="robust")
    assert (center, scale) == (common, 40.0)


@pytest.mark.parametrize("share", [0.03, 0.1, 0.2])
def test_one_typing_error_does_not_move_a_robust_scale(share: float) -> None:
    column = np.zeros(1_000)
    rare = np.arange(round(1_000 * share))
    column[rare] = np.random.default_rng(0).uniform(20, 80, len(rare))
    _, _, scale = learn_one(column.tolist(), scaling="robust")
    column[0] *= 100
    _, _, mistyped = learn_one(column.tolist(), scaling="robust")
    assert mistyped == pytest.approx(scale, rel=0.1)


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e300, 1e-300])
def test_a_column_that_does_not_vary_has_no_scale(scaling: str, value: float) -> None:
    _, _, scale = learn_one([value] * 7 + [NAN], scaling=scaling)
    assert scale == 0


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_column_without_any_number_counts_as_zeros(scaling: str) -> None:
    fill, center, _ = learn_one([NAN, NAN, NAN], scaling=scaling)
    assert (fill, center) == (0.0, 0.0)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_squares_of_large_numbers_do_not_overflow(scaling: str) -> None:
    fill, center, scale = learn_one([-1e300, 0.0, 1.0, 1e300], scaling=scaling)
    assert np.isfinite([fill, center, scale]).all()


@pytest.mark.parametrize("scaling", SCALINGS)
def test_tables_of_words_alone_and_of_numbers_alone(scaling: str) -> None:
    vocabulary = Vocabulary("word", ["a", "b"], numbers=False)
    codes = np.array([[0], [1], [0]])
    rows = [np.arange(3)]
    words = learn(preprocessing(scaling=scaling), array_design(None, codes, [vocabulary]), rows)
    assert words.fill.shape == words.center.shape == words.scale.shape == (1, 0)
    assert words.seen.tolist() == [[True, True]]
    numbers = learn(preprocessing(scaling=scaling), array_design(np.ones((3, 2))), rows)
    assert numbers.fill.shape == (1, 2)
    assert numbers.seen.shape == (1, 0)


def test_levels_that_a_fold_has_seen() -> None:
    vocabularies = [
        Vocabulary("zone", ["a", "b", None], numbers=False),
        Vocabulary("roof", ["x", "y"], numbers=False),
    ]
    codes = np.array([[0, 0], [1, 1], [2, 1], [3, 2]])  # the last row: unknown in both
    learnt = learn(
        preprocessing(),
        array_design(np.ones((4, 1)), codes, vocabularies),
        [np.array([0, 1]), np.array([2, 3])],
    )
    assert learnt.seen.tolist() == [
        [True, True, False, True, True],
        [False, False, True, False, True],
    ]


def test_drop_rows_leaves_incomplete_rows_out_of_training_alone(tmp_path: Path) -> None:
    case = lay(tmp_path, house_frame(), preprocessing={"numeric_missing": "drop_rows"})
    incomplete = set(np.flatnonzero(np.isnan(case.design.numbers).any(axis=1)))
    for raw in case.laid:
        kept = trainable_rows(case.spec.preprocessing, case.design, raw)
        assert set(raw.train) & incomplete
        assert set(kept.train) == set(raw.train) - incomplete
        assert set(kept.watched) == set(raw.watched) - incomplete
        assert np.array_equal(kept.validation, raw.validation)
    other = preprocessing("mean")
    assert trainable_rows(other, case.design, case.laid[0]) is case.laid[0]
