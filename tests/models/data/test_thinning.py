"""Folds with fewer training rows."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classes import class_frame
from houses import Case, house_frame, lay

from models.data.folds import FoldRows
from models.data.thinning import thin


def layouts_of(case: Case) -> list[list[FoldRows]]:
    return [case.folds, *thin(case.spec, case.design, case.folds)]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return lay(tmp_path, house_frame(163), k_folds=4)


def test_each_layout_has_a_random_half_of_the_rows_of_the_one_before(case: Case) -> None:
    layouts = layouts_of(case)
    assert len(layouts) == 4
    for before, halved in pairwise(layouts):
        for one, half in zip(before, halved, strict=True):
            assert set(half.train) < set(one.train)
            assert set(half.watched) < set(one.watched)
            assert len(half.known) == pytest.approx(len(one.known) / 2, abs=1)
    half, whole = set(layouts[1][0].train), np.sort(case.folds[0].train)
    assert half != set(whole[: len(half)])
    assert layouts_of(case)[3][0].train.tolist() == layouts[3][0].train.tolist()


def test_no_scored_row_trains(case: Case) -> None:
    for layout in layouts_of(case):
        for fold, whole in zip(layout, case.folds, strict=True):
            assert fold.validation.tolist() == whole.validation.tolist()
            assert not set(fold.known) & set(fold.validation)
            assert not set(fold.train) & set(fold.watched)


def test_groups_stay_whole(tmp_path: Path) -> None:
    frame = house_frame(240)
    frame["street"] = np.arange(240) % 60
    folds = {"type": "group", "column": "street"}
    case = lay(tmp_path, frame, k_folds=4, folds=folds)
    column = case.design.fold_column
    assert column is not None
    for layout, streets in zip(layouts_of(case), (45, 22, 11, 6), strict=True):
        for fold in layout:
            chosen = set(column[fold.known])
            assert len(chosen) == pytest.approx(streets, abs=2)
            learnt = np.concatenate([whole.known for whole in case.folds])
            for street in set(column[fold.train]):
                own = set(np.flatnonzero(column == street)) & set(learnt)
                assert own <= set(fold.train)


def test_a_thinner_history_is_not_an_older_one(tmp_path: Path) -> None:
    folds = {"type": "time", "column": "sold"}
    case = lay(tmp_path, house_frame(300), k_folds=3, folds=folds, early_stopping=None)
    times = case.design.fold_column
    assert times is not None
    whole, *_, eighth = layouts_of(case)
    for own, few in zip(whole, eighth, strict=True):
        assert np.median(times[few.train]) > np.quantile(times[own.train], 0.2)
        assert times[few.train].max() < times[few.validation].min()


@pytest.mark.parametrize("early_stopping", [None, {"fraction": 0.2}])
def test_every_class_stays(tmp_path: Path, early_stopping: Any) -> None:
    frame = class_frame(300).drop(columns="let")
    frame.loc[frame["state"] == "poor|damp", "state"] = "good"
    frame.loc[:9, "state"] = "poor|damp"
    case = lay(tmp_path, frame, target="state", k_folds=3, early_stopping=early_stopping)
    for layout in layouts_of(case):
        for fold in layout:
            assert len(set(case.design.target[fold.train])) == 3
