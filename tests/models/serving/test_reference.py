"""Rows that are unlike those of training, and the sample of these that a model keeps."""

from __future__ import annotations

import numpy as np
import pytest

from models.serving.reference import (
    BACKGROUND_ROWS,
    OUTLIER_SHARE,
    Background,
    OutlierCheck,
    Outliers,
)

ROWS = 2_000


def numbers(seed: int = 0) -> np.ndarray:
    """Area, rooms that go with it, a copy of the area, a constant, and a column half missing."""
    chance = np.random.default_rng(seed)
    area = chance.lognormal(5, 0.4, ROWS)
    rooms = area / 25 + chance.normal(0, 0.5, ROWS)
    holes = np.where(chance.random(ROWS) < 0.5, np.nan, chance.normal(0, 1, ROWS))
    return np.column_stack([area, rooms, area, np.ones(ROWS), holes])


def check() -> OutlierCheck:
    found = Outliers.of(numbers(), [4, 3, 2, 1, 0])
    assert found is not None
    assert found.columns == [0, 1, 2, 4]
    return OutlierCheck(found)


def is_outlier(row: list[float]) -> bool:
    found = check()
    return bool(found.parts(np.array([row])).sum() > found.limit)


@pytest.mark.parametrize(
    ("rows", "columns"), [(10, 30), (50, 30), (100, 30), (500, 128), (2000, 5)]
)
def test_few_new_rows_are_outliers_however_small_the_table(rows: int, columns: int) -> None:
    chance = np.random.default_rng(rows)
    found = Outliers.of(chance.normal(size=(rows, columns)), list(range(columns)))
    assert found is not None
    fresh = OutlierCheck(found).parts(chance.normal(size=(20_000, columns))).sum(1)
    # The limit of n rows is their largest at best, which a new one exceeds once in n + 1.
    assert (fresh > found.limit).mean() < max(2 * OUTLIER_SHARE, 3 / (rows + 1))


def test_few_rows_of_the_same_kind_are_outliers() -> None:
    found = check()
    outside = found.parts(numbers(seed=1)).sum(1) > found.limit
    assert outside.mean() < 3 * OUTLIER_SHARE


def test_what_is_odd_together_is_an_outlier_though_each_cell_is_usual() -> None:
    assert not is_outlier([300, 12, 300, 1, np.nan])
    assert not is_outlier([70, 3, 70, 1, np.nan])
    assert is_outlier([300, 3, 300, 1, np.nan])
    assert is_outlier([300, 12, 70, 1, np.nan])


def test_what_is_beyond_all_bounds_is_an_outlier() -> None:
    for area in (1e4, 1e300, -1e300):
        assert is_outlier([area, 8, area, 1, 0])


def test_the_columns_at_fault_are_named() -> None:
    found = check()
    (parts,) = found.parts(np.array([[200.0, 500.0, 200.0, 1.0, 0.0]]))
    assert found.most(parts)[0] == 1


def test_what_never_varied_has_no_outliers() -> None:
    nothing = np.column_stack([np.ones(5), np.full(5, np.nan)])
    assert Outliers.of(nothing, [0, 1]) is None
    assert Outliers.of(np.empty((5, 0)), []) is None


def test_the_background_is_a_sample_that_keeps_what_is_missing() -> None:
    cells, codes = numbers(), np.arange(ROWS)[:, None]
    found = Background.of(cells, codes, np.random.default_rng(1))
    again = Background.model_validate_json(found.model_dump_json())
    sampled, places = again.arrays()
    assert len(set(places[:, 0].tolist())) == BACKGROUND_ROWS
    np.testing.assert_array_equal(sampled, cells[places[:, 0]])
    assert np.isnan(sampled).any()
