"""How rows are dealt: what every type of folds promises, for many sizes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from houses import lay

from models.data.aside import set_holdout_aside
from models.data.folds import FoldRows, split_rows
from models.objectives import CLASSIFICATION, objective_of
from models.planning.resolve import SpecError
from models.spec import TrainingSpec

TYPES = ["shuffled", "stratified", "group", "time"]
SIZES = [(10, 5), (20, 10), (23, 2), (37, 5), (60, 30), (101, 7), (103, 20), (100, 50)]


def spec_of(kind: str, k: int, **spec: Any) -> TrainingSpec:
    column = {"column": "by"} if kind in ("group", "time") else {}
    return TrainingSpec.model_validate(
        {"target": "price", "k_folds": k, "folds": {"type": kind, **column}, **spec}
    )


def made_up(kind: str, rows: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Targets, and for `group` and `time` folds the column that they go by."""
    rng = np.random.default_rng(seed)
    target = rng.lognormal(12, 0.5, rows)
    if kind == "group":
        groups = min(rows, 2 * k + 2)
        return target, rng.permutation(np.arange(rows) % groups)
    return target, rng.permutation(rows).astype(float) if kind == "time" else None


@dataclass(frozen=True)
class Split:
    """Where each row of a table is."""

    folds: list[FoldRows]
    holdout: np.ndarray


def deal(kind: str, rows: int, k: int, seed: int = 0, **given: Any) -> tuple[Split, Any, Any]:
    target, column = made_up(kind, rows, k)
    spec = spec_of(kind, k, seed=seed, **given)
    return split_of(spec, target, column), target, column


def split_of(spec: TrainingSpec, target: np.ndarray, column: np.ndarray | None) -> Split:
    """As a run does it: the holdout first."""
    strata = objective_of(spec).strata_aside(target)
    seen, holdout = set_holdout_aside(spec, len(target), column, strata)
    laid = split_rows(spec, target[seen], None if column is None else column[seen])
    return Split(
        [FoldRows(seen[f.train], seen[f.watched], seen[f.validation]) for f in laid], holdout
    )


def parts_of(split: Split) -> list[list[np.ndarray]]:
    """For each fold the parts that must not share a row."""
    return [[f.train, f.watched, f.validation, split.holdout] for f in split.folds]


@pytest.mark.parametrize("holdout", [None, {"fraction": 0.2}], ids=["no holdout", "holdout"])
@pytest.mark.parametrize(
    "watched", [None, {"patience": 3, "fraction": 0.2}], ids=["unwatched", "watched"]
)
@pytest.mark.parametrize("kind", TYPES)
def test_every_row_has_one_place_in_every_fold(
    kind: str, watched: dict[str, Any] | None, holdout: dict[str, Any] | None
) -> None:
    for rows, k in SIZES:
        split, _, _ = deal(kind, rows, k, early_stopping=watched, holdout=holdout)
        assert len(split.folds) == k
        assert (len(split.holdout) > 0) == (holdout is not None)
        for fold in split.folds:
            assert len(fold.train) > 0
            assert len(fold.validation) > 0
            assert (len(fold.watched) > 0) == (watched is not None)
        for parts in parts_of(split):
            dealt = np.concatenate(parts)
            assert len(np.unique(dealt)) == len(dealt)
            if kind != "time":
                assert sorted(dealt) == list(range(rows))


@pytest.mark.parametrize("kind", TYPES)
def test_a_row_is_scored_once_at_the_most(kind: str) -> None:
    for rows, k in SIZES:
        split, _, column = deal(kind, rows, k, holdout={"fraction": 0.1})
        scored = np.concatenate([fold.validation for fold in split.folds])
        assert len(np.unique(scored)) == len(scored)
        if kind == "time":
            assert column is not None
            left = np.setdiff1d(np.arange(rows), np.concatenate([scored, split.holdout]))
            assert column[left].max() < column[scored].min()  # the earliest rows only ever train
        else:
            assert len(scored) + len(split.holdout) == rows


@pytest.mark.parametrize("kind", ["shuffled", "stratified", "time"])
def test_folds_are_of_one_size(kind: str) -> None:
    for rows, k in SIZES:
        split, _, _ = deal(kind, rows, k)
        sizes = [len(fold.validation) for fold in split.folds]
        slack = 0 if kind == "time" else 1
        if kind == "stratified":  # up to one row a stratum
            slack = min(10, rows // k)
        assert max(sizes) - min(sizes) <= slack


@pytest.mark.parametrize("kind", TYPES)
def test_the_share_that_is_watched_and_held_out(kind: str) -> None:
    split, _, _ = deal(
        kind, 600, 5, early_stopping={"patience": 1, "fraction": 0.1}, holdout={"fraction": 0.25}
    )
    # Whole groups of 50 rows cannot meet a share exactly, and never exceed it by more than one.
    slack = 50 if kind == "group" else 1
    assert len(split.holdout) == pytest.approx(150, abs=slack)
    for fold in split.folds:
        assert len(fold.watched) == pytest.approx(
            0.1 * (len(fold.train) + len(fold.watched)), abs=slack
        )


def test_stratified_folds_spread_the_target() -> None:
    """Each fold's deciles hold a tenth of its rows; shuffled folds are farther from that."""
    rows, k = 400, 8
    target, _ = made_up("stratified", rows, k)
    tenths = np.argsort(np.argsort(target)) * 10 // rows

    def unevenness(kind: str) -> int:
        folds = split_rows(spec_of(kind, k), target)
        counts = [np.bincount(tenths[fold.validation], minlength=10) for fold in folds]
        return int(np.ptp(counts, axis=0).max())

    assert unevenness("stratified") <= 1
    assert unevenness("shuffled") > 1


@pytest.mark.parametrize("k", [2, 15, 50])
def test_stratified_folds_of_few_rows(k: int) -> None:
    """A fold may hold fewer rows than there are strata."""
    split, target, _ = deal("stratified", 100, k)
    half = target > np.median(target)
    for fold in split.folds:
        assert 0 < half[fold.validation].sum() < len(fold.validation)


def test_stratified_folds_of_a_target_with_few_values() -> None:
    target = np.repeat([0.0, 1.0], [90, 10])
    for fold in split_rows(spec_of("stratified", 5), target):
        assert target[fold.validation].sum() == 2


SHARES = [(0.9, 0.1), (0.5, 0.3, 0.2), (0.6, 0.3, 0.05, 0.05)]


def classes_of(rows: int, k: int, shares: tuple[float, ...], seed: int) -> np.ndarray:
    """Classes in random order, each with a row more than there are folds, at least."""
    sizes = np.maximum(k + 1, (np.array(shares) * rows).astype(int))
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(shares)), sizes)) * 1.0


@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("holdout", [None, {"fraction": 0.1}, {"fraction": 0.49}])
@pytest.mark.parametrize("watched", [None, {"fraction": 0.1}, {"fraction": 0.49}])
@pytest.mark.parametrize("kind", ["stratified", "shuffled"])
def test_every_fold_trains_on_every_class(
    kind: str,
    watched: dict[str, Any] | None,
    holdout: dict[str, Any] | None,
    shares: tuple[float, ...],
) -> None:
    """What is set aside never takes the last row of a class, and has about the share of each."""
    for (rows, k), seed in product([(40, 2), (60, 3), (200, 5)], range(3)):
        target = classes_of(rows, k, shares, seed)
        spec = spec_of(
            kind, k, seed=seed, task=CLASSIFICATION, holdout=holdout, early_stopping=watched
        )
        split = split_of(spec, target, None)
        everyone = np.bincount(target.astype(int))
        seen = np.bincount(np.delete(target, split.holdout).astype(int), minlength=len(shares))
        assert (seen > 0).all()
        if holdout:
            held = everyone - seen
            assert held.sum() == round(holdout["fraction"] * len(target))
            assert (seen >= k).all()  # a row that each fold may score
            assert (held > 0).all() or held.sum() < len(shares)
            common = everyone > 2 * k
            assert np.abs(held - holdout["fraction"] * everyone)[common].max() <= 2
        for fold in split.folds:
            train, aside = (
                np.bincount(target[part].astype(int), minlength=len(shares))
                for part in (fold.train, fold.watched)
            )
            if kind == "stratified":
                assert (train > 0).all()
            else:  # the scored rows may have all of a rare class
                assert ((train > 0) | (aside == 0)).all()
            if watched:
                # At least one of each, if there are enough, at the cost of the others.
                assert np.abs(aside - watched["fraction"] * (train + aside)).max() <= 2


def test_a_class_of_one_row_is_never_set_aside() -> None:
    target = np.array([0.0] * 30 + [1.0] * 30 + [2.0])
    for seed in range(20):
        spec = spec_of("stratified", 2, seed=seed, task=CLASSIFICATION, holdout={"fraction": 0.49})
        seen, holdout = set_holdout_aside(spec, 61, None, target.astype(int))
        assert 60 in seen
        assert len(holdout) == 30


def test_which_rows_of_a_class_are_set_aside_is_random() -> None:
    target = np.repeat([0.0, 1.0], [50, 50])
    times = np.zeros(100)
    for seed in range(200):
        spec = spec_of("stratified", 2, seed=seed, task=CLASSIFICATION, holdout={"fraction": 0.2})
        _, holdout = set_holdout_aside(spec, 100, None, target.astype(int))
        times[holdout] += 1
    assert times.min() > 15  # of 40 on average
    assert times.max() < 70


def test_classes_of_stratified_folds_are_spread_evenly() -> None:
    target = classes_of(200, 5, (0.7, 0.2, 0.1), 0)
    spec = spec_of("stratified", 5, task=CLASSIFICATION)
    counts = [
        np.bincount(target[fold.validation].astype(int), minlength=3)
        for fold in split_rows(spec, target)
    ]
    assert np.ptp(counts, axis=0).max() <= 1


def test_groups_never_straddle() -> None:
    for rows, k in SIZES:
        split, _, groups = deal("group", rows, k, holdout={"fraction": 0.1})
        assert groups is not None
        for parts in parts_of(split):
            for one, other in combinations(parts, 2):
                assert not set(groups[one]) & set(groups[other])


@pytest.mark.parametrize("holdout", [None, {"fraction": 0.1}])
def test_time_folds_are_scored_by_models_of_earlier_rows(holdout: dict[str, Any] | None) -> None:
    """Watched rows are the latest that the model sees, and the holdout is later than all."""
    for rows, k in SIZES:
        split, _, times = deal("time", rows, k, holdout=holdout)
        assert times is not None
        latest = -np.inf
        for fold in split.folds:
            assert times[fold.train].max() < times[fold.watched].min()
            assert times[fold.watched].max() < times[fold.validation].min()
            assert times[fold.validation].max() < times[split.holdout].min(initial=np.inf)
            assert times[fold.validation].min() > latest  # chained forwards
            latest = times[fold.validation].max()
            assert (
                len(fold.train) + len(fold.watched) == (times < times[fold.validation].min()).sum()
            )


@pytest.mark.parametrize("watched", [None, {"patience": 1, "fraction": 0.2}])
@pytest.mark.parametrize("holdout", [None, {"fraction": 0.2}])
@pytest.mark.parametrize("sizes", [[10] * 9, [1, 80, 2, 2, 2, 1, 40, 1, 1], [60] + [1] * 8])
def test_rows_of_one_time_stay_together(
    sizes: list[int], holdout: dict[str, Any] | None, watched: dict[str, Any] | None
) -> None:
    """Whatever the order of the rows, in which ties would be cut at random."""
    rng = np.random.default_rng(0)
    times = rng.permutation(np.repeat(np.arange(float(len(sizes))), sizes))
    spec = spec_of("time", 5, holdout=holdout, early_stopping=watched)
    split = split_of(spec, np.arange(1.0, len(times) + 1), times)
    latest = -1.0
    for fold in split.folds:
        parts = [p for p in (fold.train, fold.watched, fold.validation, split.holdout) if len(p)]
        for earlier, later in pairwise(parts):
            assert times[earlier].max() < times[later].min()
        assert times[fold.validation].min() > latest
        latest = times[fold.validation].max()
        before = len(fold.train) + len(fold.watched)
        assert before == (times < times[fold.validation].min()).sum()
    other = rng.permutation(len(times))
    again = split_of(spec, np.arange(1.0, len(times) + 1), times[other])
    for one, two in zip(split.folds, again.folds, strict=True):
        assert set(times[one.validation]) == set(times[other][two.validation])


def test_a_cut_moves_before_the_rows_of_its_time() -> None:
    times = np.array([1.0, 2, 2, 2, 3, 3, 4, 4, 5])
    spec = spec_of("time", 2, early_stopping=None)
    first, second = split_rows(spec, np.arange(1.0, 10), times)
    assert (first.train.tolist(), first.validation.tolist()) == ([0], [1, 2, 3, 4, 5])
    assert second.validation.tolist() == [6, 7, 8]


def test_too_few_times_are_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"area": np.arange(60) ** 1.5, "year": np.arange(60) // 10, "price": 1.0})
    frame["price"] += np.arange(60)
    time = {"type": "time", "column": "year"}
    with pytest.raises(SpecError, match="'year' has 6 distinct times, and 5 folds need 7"):
        lay(tmp_path, frame, folds=time)
    lay(tmp_path, frame, folds=time, k_folds=4)
    with pytest.raises(SpecError, match="need 7"):
        lay(tmp_path, frame, folds=time, k_folds=4, holdout={"fraction": 0.1})
    # Times of rows without a target do not count, which the profile cannot tell.
    frame.loc[frame["year"] < 2, "price"] = np.nan
    case = lay(tmp_path, frame, folds=time, k_folds=4)
    with pytest.raises(ValueError, match="4 distinct times in 'year' and need 6"):
        _ = case.laid


@pytest.mark.parametrize("kind", TYPES)
def test_the_seed_decides(kind: str) -> None:
    def places(seed: int) -> list[np.ndarray]:
        split, _, _ = deal(kind, 60, 5, seed, holdout={"fraction": 0.2})
        return [part for parts in parts_of(split) for part in parts]

    first, again, other = places(3), places(3), places(4)
    assert all(map(np.array_equal, first, again))
    assert all(map(np.array_equal, first, other)) == (kind == "time")  # time has one order


def test_the_watched_rows_do_not_change_what_is_scored() -> None:
    with_watch, _, _ = deal("shuffled", 60, 5)
    without, _, _ = deal("shuffled", 60, 5, early_stopping=None)
    for one, other in zip(with_watch.folds, without.folds, strict=True):
        assert np.array_equal(one.validation, other.validation)
        assert sorted([*one.train, *one.watched]) == sorted(other.train)


@pytest.mark.filterwarnings("error")
def test_equal_targets_are_dealt_in_silence() -> None:
    """Most are 0, so that a bin of the others has fewer rows than there are folds."""
    spec = TrainingSpec(target="price", folds={"type": "stratified"})
    target = np.array([0.0] * 97 + [1.0, 2.0, 3.0])
    laid = split_rows(spec, target)
    assert [len(fold.validation) for fold in laid] == [20] * 5


@pytest.mark.parametrize("kind", TYPES)
def test_what_a_spec_may_ask_can_be_dealt(tmp_path: Path, kind: str) -> None:
    """Small tables and few groups are refused with a reason or dealt, never half of each."""
    dealt = 0
    holdouts = [None, {"fraction": 0.1}, {"fraction": 0.45}]
    watches = [None, {"patience": 1, "fraction": 0.4}]
    for rows, k, holdout, watch in product((4, 6, 11), (2, 3, 5), holdouts, watches):
        for groups in (3, 4, 6) if kind == "group" else (rows,):
            frame = pd.DataFrame(
                {
                    "area": np.arange(rows) ** 1.5,
                    "by": np.arange(rows) % groups,
                    "price": np.arange(1.0, rows + 1),
                }
            )
            column = {"column": "by"} if kind in ("group", "time") else {}
            try:
                case = lay(
                    tmp_path,
                    frame,
                    k_folds=k,
                    folds={"type": kind, **column},
                    holdout=holdout,
                    early_stopping=watch,
                    features={"kinds": {"area": "numeric"}},
                )
            except SpecError:
                continue
            dealt += 1
            for fold in case.laid:
                assert min(len(fold.train), len(fold.validation)) > 0
    assert dealt > 10
