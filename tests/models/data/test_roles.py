from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from houses import Case, house_frame, lay

from models.data.folds import FoldRows, roles_of, split_rows
from models.data.roles import (
    SCORED,
    TRAINED,
    WATCHED,
    EarlierRoles,
    match_roles,
    read_roles,
    scored_after_learning,
    write_roles,
)

STOPPING: dict[str, Any] = {"early_stopping": {"patience": 2, "fraction": 0.2}}
FOLDS: dict[str, dict[str, Any]] = {
    "shuffled": {"type": "shuffled"},
    "stratified": {"type": "stratified"},
    "group": {"type": "group", "column": "street"},
}


def streets(rows: int, seed: int = 0) -> pd.DataFrame:
    names = [f"street {number}" for number in np.random.default_rng(seed).integers(0, 25, rows)]
    return house_frame(rows, seed).assign(street=names)


def again(
    tmp_path: Path, before: Case, frame: pd.DataFrame, **spec: Any
) -> tuple[Case, EarlierRoles, list[FoldRows]]:
    """A later table, the roles of its rows in the case before, and the folds that keep them."""
    folder = tmp_path / "again"
    folder.mkdir()
    case = lay(folder, frame, **spec)
    roles = roles_of(before.laid, before.design.rows, before.profile.rows)
    columns = [*before.spec.features.kinds, before.spec.target]
    write_roles(roles, folder / "roles.parquet")
    earlier = match_roles(
        read_roles(folder / "roles.parquet"), before.parquet, case.parquet, columns
    )
    own = earlier.of[case.design.rows]
    return case, earlier, split_rows(case.spec, case.design.target, case.design.fold_column, own)


@pytest.mark.parametrize("kind", FOLDS)
def test_rows_keep_their_folds_and_new_rows_make_them_even(tmp_path: Path, kind: str) -> None:
    spec = STOPPING | {"folds": FOLDS[kind], "k_folds": 4, "holdout": {"fraction": 0.1}}
    old = streets(103)
    before = lay(tmp_path, old, **spec)
    labels = np.random.default_rng(0).permutation(163)  # below 103: the old rows
    new = pd.concat([old, streets(60, seed=1)]).iloc[labels]
    case, earlier, folds = again(tmp_path, before, new, **(spec | {"holdout": None}))
    assert earlier.changed == 0
    everyone = np.concatenate([fold.validation for fold in folds])
    assert sorted(everyone) == list(range(163))
    for fold, was in zip(folds, before.laid, strict=True):
        assert not {*fold.train} & {*fold.watched}
        seen = before.design.rows[was.known]
        labelled = case.design.rows
        scored = {*labels[labelled[fold.validation]]}
        assert not scored & {*seen}
        if kind != "group":
            assert {*before.design.rows[was.validation]} <= scored
            assert len(fold.validation) == pytest.approx(163 / 4, abs=4)
        watched = {*labels[labelled[fold.watched]]}
        assert {*before.design.rows[was.watched]} <= watched
        assert not watched & {*before.design.rows[was.train]}
        assert len(watched) == pytest.approx(0.2 * 163 * 3 / 4, rel=0.3)
    if kind == "group":
        assert case.design.fold_column is not None
        owners = [{*case.design.fold_column[fold.validation]} for fold in folds]
        assert sum(map(len, owners)) == len(set.union(*owners))


def test_copies_and_changed_rows(tmp_path: Path) -> None:
    old = house_frame(40)
    old.loc[39] = old.loc[0]
    before = lay(tmp_path, old, k_folds=2, early_stopping=None)
    new = pd.concat([old, old.loc[[0]]], ignore_index=True)
    new.loc[5, "area"] = 301.0
    new = new.drop(index=7).reset_index(drop=True).assign(unrelated=range(40))
    _, earlier, folds = again(tmp_path, before, new, k_folds=2, early_stopping=None)
    assert (earlier.changed, earlier.learnt) == (2, 40)
    was = roles_of(before.laid, before.design.rows, 40)
    np.testing.assert_array_equal(earlier.of[0], was[0])
    np.testing.assert_array_equal(earlier.of[38], was[39])
    np.testing.assert_array_equal(earlier.of[39], was[39])  # a third copy
    assert not earlier.of[5].any()
    assert not any(
        0 in {*fold.validation} and was[0, place] == TRAINED for place, fold in enumerate(folds)
    )


def test_rows_that_cannot_keep_their_folds_are_counted(tmp_path: Path) -> None:
    spec = {"k_folds": 3, "early_stopping": None}
    in_time = {"folds": {"type": "time", "column": "sold"}}
    before = lay(tmp_path, house_frame(60), **spec)
    case, earlier, folds = again(tmp_path, before, house_frame(60), **(spec | in_time))
    pairs = [(fold.train, fold.validation) for fold in folds]
    assert 20 < scored_after_learning(earlier.of[case.design.rows], pairs) < 45


def test_later_rows_keep_folds_in_time_honest(tmp_path: Path) -> None:
    spec = STOPPING | {"k_folds": 3, "folds": {"type": "time", "column": "sold"}}
    before = lay(tmp_path, house_frame(70).iloc[:60], **spec)
    case, earlier, folds = again(tmp_path, before, house_frame(70), **spec)
    pairs = [(fold.known, fold.validation) for fold in folds]
    assert scored_after_learning(earlier.of[case.design.rows], pairs) == 0
    assert {SCORED, TRAINED, WATCHED} <= {*earlier.of.ravel().tolist()}
