"""The table as arrays: which rows, which numbers, which codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from houses import lay

from models.data.design import Design
from models.tables.arrays import as_levels, as_numbers, encode, level_of

ROWS = 12
FRAME = pd.DataFrame(
    {
        "price": [10.0, np.nan, *range(30, 30 + ROWS - 2)],
        "area": [np.nan, 5.0, *np.linspace(50.5, 99.5, ROWS - 2)],
        "sold": ["1970-01-02", None, *["2020-06-01T12:00:00"] * (ROWS - 2)],
        "zone": ["b", "b", "a", None, "b", "a", "c", None, "b", "b", "a", "c"],
        "class": [60, 20, 60.0, 0.5, np.nan, 60, 20, 20, 60, 60, 60, -5],
    }
)
KINDS = {"zone": "categorical", "class": "categorical", "area": "numeric", "sold": "numeric"}


def design_of(folder: Path, **spec: Any) -> Design:
    return lay(folder, FRAME, k_folds=2, features={"kinds": KINDS}, **spec).design


def test_rows_without_a_target_are_left_out(tmp_path: Path) -> None:
    design = design_of(tmp_path)
    assert len(design) == ROWS - 1
    assert design.rows.tolist() == [0, *range(2, ROWS)]
    assert design.target.tolist() == [10.0, *range(30, 30 + ROWS - 2)]
    assert design.numbers.shape == (ROWS - 1, 2)
    assert design.codes.shape == (ROWS - 1, 2)


def test_numbers_are_in_the_order_of_the_table(tmp_path: Path) -> None:
    design = design_of(tmp_path)
    assert design.numeric == ["area", "sold"]
    assert design.numeric_kinds == ["numeric", "datetime"]
    assert np.isnan(design.numbers[0, 0])
    assert design.numbers[1, 0] == 50.5


def test_dates_are_seconds_since_1970(tmp_path: Path) -> None:
    sold = design_of(tmp_path).numbers[:, 1]
    assert sold[0] == 86_400.0
    assert sold[1] == pd.Timestamp("2020-06-01T12:00:00").timestamp()


def test_a_missing_date_is_nan() -> None:
    moments = pa.chunked_array([pa.array([None, 1_500_000], pa.timestamp("us"))])
    np.testing.assert_array_equal(as_numbers(moments), [np.nan, 1.5])


def test_levels_stand_by_frequency_and_then_by_name(tmp_path: Path) -> None:
    """A missing cell is a level too, the last among equals."""
    zone, number = design_of(tmp_path).categorical
    assert (zone.name, zone.levels, zone.numbers) == ("zone", ["b", "a", "c", None], False)
    assert zone.unknown == 4
    assert number.numbers
    assert number.levels == ["60", "20", "-5", "0.5", None]


def test_codes_are_places_in_the_vocabulary(tmp_path: Path) -> None:
    design = design_of(tmp_path)
    for place, vocabulary in enumerate(design.categorical):
        cells = FRAME[vocabulary.name].iloc[design.rows]
        for code, cell in zip(design.codes[:, place], cells, strict=True):
            expected = None if pd.isna(cell) else cell if isinstance(cell, str) else level_of(cell)
            assert vocabulary.levels[code] == expected


def test_rare_levels_are_unknown_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.data.design.MAX_LEVELS", 2)
    zone, _ = design_of(tmp_path).categorical
    assert zone.levels == ["b", "a"]
    assert set(design_of(tmp_path).codes[:, 0]) == {0, 1, zone.unknown}


@pytest.mark.parametrize(
    ("number", "level"),
    [
        (60.0, "60"),
        (-5.0, "-5"),
        (0.0, "0"),
        (-0.0, "0"),
        (0.5, "0.5"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (2.0**53, "9007199254740992.0"),
    ],
)
def test_a_number_as_a_level(number: float, level: str) -> None:
    assert level_of(number) == level
    assert as_levels(pa.chunked_array([[number, None]])).to_pylist() == [level, None]


def test_words_are_levels_as_they_stand() -> None:
    words = pa.chunked_array([["60.0", None, "NA"]])
    assert as_levels(words).to_pylist() == ["60.0", None, "NA"]


def test_a_cell_that_is_no_level_has_the_unknown_code() -> None:
    cells = pa.chunked_array([["a", "x", None]])
    assert encode(cells, ["b", "a"]).tolist() == [1, 2, 2]
    assert encode(cells, ["b", "a", None]).tolist() == [1, 3, 2]


def test_missing_groups_are_one_group(tmp_path: Path) -> None:
    design = design_of(tmp_path, folds={"type": "group", "column": "zone"})
    zones = FRAME["zone"].iloc[design.rows].fillna("missing")
    pairs = set(zip(zones, design.fold_column, strict=True))
    assert len(pairs) == zones.nunique() == 4
    assert [vocabulary.name for vocabulary in design.categorical] == ["class"]


def test_times_of_time_folds(tmp_path: Path) -> None:
    days = pd.date_range("1970-01-02", periods=ROWS).strftime("%Y-%m-%d")
    case = lay(
        tmp_path,
        FRAME.assign(sold=days),
        k_folds=2,
        folds={"type": "time", "column": "sold"},
        features={"exclude": ["sold"]},
    )
    assert case.design.fold_column[0] == 86_400.0
    assert "sold" not in case.design.numeric


@pytest.mark.parametrize("kind", ["shuffled", "group", "time"])
def test_the_holdout_decides_nothing(tmp_path: Path, kind: str) -> None:
    """Neither transform nor levels: whatever stands in its rows, all else is as it was."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "area": rng.uniform(50, 200, 120),
            "zone": rng.choice(["a", "b"], 120),
            "by": np.arange(120) // 4,
            "price": rng.uniform(100, 200, 120),
        }
    )
    spec: dict[str, Any] = {
        "folds": {"type": kind, "column": None if kind == "shuffled" else "by"},
        "holdout": {"fraction": 0.1},
    }
    clean = lay(tmp_path, frame, **spec)
    assert clean.spec.preprocessing.target_transform == "none"
    held_out = clean.holdout.rows
    for prices, zones in ((1e6, "c"), (-5.0, "a")):
        frame.loc[held_out, ["price", "zone"]] = [prices, zones]
        planted = lay(tmp_path, frame, **spec)
        assert planted.holdout.rows.tolist() == held_out.tolist()
        assert planted.spec == clean.spec
        assert planted.design.categorical == clean.design.categorical
        assert np.array_equal(planted.design.codes, clean.design.codes)
        (zone,) = planted.design.categorical
        code = zone.levels.index(zones) if zones in zone.levels else zone.unknown
        assert set(planted.holdout.codes[:, 0]) == {code}
    skewed = frame.assign(price=np.exp(rng.normal(5, 1, 120)))
    skewed.loc[held_out, "price"] = -5.0
    assert lay(tmp_path, skewed, **spec).spec.preprocessing.target_transform == "log"


def test_shuffled_folds_need_no_column(tmp_path: Path) -> None:
    assert design_of(tmp_path).fold_column is None
