from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from models.tables.profile import ColumnProfile, Profile, WarningCode, profile
from models.tables.statistics import summarize
from models.tables.table import Limits, read_table

AMES = Path("examples/ames.csv")
LIMITS = Limits(max_rows=10_000, max_columns=100)


def profile_of(columns: dict[str, Sequence[object]]) -> Profile:
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    return profile(read_table(io.BytesIO("\n".join(lines).encode()), LIMITS))


def column_of(cells: Sequence[object], name: str = "x") -> ColumnProfile:
    return profile_of({name: cells, "other": range(len(cells))}).columns[0]


def codes(described: Profile) -> list[tuple[str, str | None]]:
    return [(warning.code, warning.column) for warning in described.warnings]


@pytest.fixture(scope="module")
def ames() -> Profile:
    return profile(read_table(AMES, LIMITS))


def test_ames_numbers(ames: Profile) -> None:
    columns = {column.name: column for column in ames.columns}
    assert (ames.rows, len(columns)) == (2930, 81)
    frontage = columns["LotFrontage"]
    assert (frontage.kind, frontage.storage) == ("numeric", "number")
    assert (frontage.missing, frontage.distinct) == (490, 128)
    assert (frontage.min, frontage.max) == (21, 313)
    assert frontage.mean == pytest.approx(69.2246, abs=1e-4)
    assert frontage.quantiles == {"0.25": 58, "0.5": 68, "0.75": 80}
    assert frontage.top is None
    price = columns["SalePrice"]
    assert price.skewness == pytest.approx(1.7426, abs=1e-4)
    assert price.std == pytest.approx(79873.06, abs=0.01)


def test_ames_words(ames: Profile) -> None:
    columns = {column.name: column for column in ames.columns}
    zoning = columns["MSZoning"]
    assert (zoning.kind, zoning.missing, zoning.distinct) == ("categorical", 0, 7)
    assert zoning.top is not None
    assert zoning.top[:2] == [("RL", 2273), ("RM", 462)]
    assert (zoning.min, zoning.mean, zoning.quantiles) == (None, None, None)
    assert columns["CentralAir"].kind == "binary"
    assert columns["MSSubClass"].kind == "numeric"
    assert columns["GarageYrBlt"].kind == "numeric"


def test_ames_suggestions_and_warnings(ames: Profile) -> None:
    assert ames.suggestions.target == "SalePrice"
    [excluded] = ames.suggestions.exclude
    assert (excluded.column, excluded.reason) == ("Id", "identifier")
    details = {warning.column: warning.detail for warning in ames.warnings}
    assert details["PoolQC"] == "99.6 % missing"
    missing = {column for code, column in codes(ames) if code == "high_missing"}
    assert missing == {"Alley", "MasVnrType", "PoolQC", "Fence", "MiscFeature"}


def test_profile_is_json_and_comes_back_equal(ames: Profile) -> None:
    text = ames.model_dump_json()
    assert Profile.model_validate_json(text) == ames
    assert Profile.model_validate(json.loads(text)) == ames


def test_none_is_a_level_beside_missing_cells() -> None:
    column = column_of(["None", "BrkFace", "None", "Stone", "NA"])
    assert (column.missing, column.distinct) == (1, 3)
    assert column.top == [("None", 2), ("BrkFace", 1), ("Stone", 1)]


WORDS = [f"{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(40)]


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        ("numeric", [1, 2, 2]),
        ("numeric", [1, 2]),
        ("numeric", range(3)),  # few
        ("numeric", range(5, 45)),  # counts up, but from 5
        ("numeric", range(0, 80, 2)),
        ("numeric", [n + 0.5 for n in range(40)]),
        ("binary", [0, 1, 1, "NA"]),
        ("binary", ["yes", "no", "yes"]),
        ("binary", ["yes", "no", "NA"]),
        ("categorical", ["a", "b", "c"]),
        ("categorical", ["yes", "NA", "yes"]),
        ("categorical", WORDS * 2),
        ("numeric", range(40)),  # a day, a week, a step
        ("identifier", WORDS),
        ("text", [f"{word} street" for word in WORDS]),
        ("text", ["long " * 30 + word for word in WORDS] * 3),
        ("text", [*WORDS, *WORDS[:10]]),
        ("datetime", ["2020-01-01", "2020-01-02", "NA"]),
        ("constant", [3, 3, 3]),
        ("constant", [3, "NA", 3]),
        ("constant", ["inf", "inf"]),
        ("constant", ["a", "a"]),
        ("constant", ["NA", "NA"]),
        ("constant", ["2020-01-01", "2020-01-01"]),
    ],
)
def test_kinds(kind: str, cells: Sequence[object]) -> None:
    assert column_of(cells).kind == kind


@pytest.mark.parametrize("name", ["row", "No", "record", "rownames", "S.N.", "Serial No", "#"])
@pytest.mark.parametrize("cells", [range(40), range(1, 41), range(40, 0, -1)])
def test_a_counter_names_the_rows_if_its_name_says_so(name: str, cells: Sequence[int]) -> None:
    assert column_of(cells, name).kind == "identifier"
    assert column_of([n + 5 for n in cells], name).kind == "numeric"


@pytest.mark.parametrize("name", ["day", "week", "t", "time", "step", "x"])
def test_another_counter_is_a_number_with_a_warning(name: str) -> None:
    found = codes(profile_of({name: range(40), "y": WORDS}))
    assert ("counts_rows", name) in found
    assert ("identifier", name) not in found


@pytest.mark.parametrize("name", ["Id", "ID", "PID", "house_id", "houseId", "id_house", "uuid"])
def test_names_of_identifiers(name: str) -> None:
    unordered = [n * 7919 % 1009 + 100_000 for n in range(60)]
    assert column_of(unordered, name).kind == "identifier"
    assert column_of([*WORDS, *WORDS[:10]], name).kind == "identifier"
    assert column_of([n % 3 for n in range(60)], name).kind == "numeric"


@pytest.mark.parametrize("name", ["paid", "Humid", "grid", "identity"])
def test_names_that_only_end_like_one(name: str) -> None:
    assert column_of([n * 7919 % 1009 + 100_000 for n in range(60)], name).kind == "numeric"


@pytest.mark.parametrize(
    ("columns", "target"),
    [
        ({"price": [1, 2, 4], "area": [3, 5, 9]}, "price"),
        ({"Y": [1, 2, 4], "Sale Price": [3, 5, 9]}, "Sale Price"),
        ({"unit_price": [1, 2, 4], "area": [3, 5, 9]}, "unit_price"),
        ({"price": ["low", "high", "mid"], "area": [3, 5, 9], "town": ["a", "b", "c"]}, "area"),
        ({"rooms": [1, 2, 4], "area": [3, 5, 9], "sold": [0, 1, 1]}, "area"),
        ({"sold": [0, 1, 1], "town": ["a", "b", "c"]}, "sold"),
        ({"price": [7, 7, 7], "town": ["a", "b", "c"]}, None),
    ],
)
def test_suggested_target(columns: dict[str, Sequence[object]], target: str | None) -> None:
    assert profile_of(columns).suggestions.target == target


def test_suggested_exclusions_and_their_warnings() -> None:
    described = profile_of(
        {
            "key": WORDS,
            "note": [f"{word} street" for word in WORDS],
            "state": ["Iowa"] * 40,
            "empty": ["NA"] * 40,
            "area": [n // 2 for n in range(40)],
        }
    )
    excluded = {item.column: item.reason for item in described.suggestions.exclude}
    expected = {"key": "identifier", "note": "text", "state": "constant", "empty": "constant"}
    assert excluded == expected
    assert {(reason, column) for column, reason in expected.items()} <= set(codes(described))


def test_many_levels_are_warned_of() -> None:
    levels = [f"level {n}" for n in range(101)] * 2
    assert ("many_levels", "x") in codes(profile_of({"x": levels, "y": range(202)}))
    assert ("many_levels", "x") not in codes(profile_of({"x": levels[1:101] * 2, "y": range(200)}))


def test_levels_beyond_those_that_are_kept_are_counted() -> None:
    levels = [f"w{n}" for n in range(1200)]
    found = profile_of({"x": [*levels, *levels, *levels[:1000]], "y": range(3400)})
    assert found.columns[0].cut == 400
    assert found.columns[1].cut == 2400
    [warning] = [warning for warning in found.warnings if warning.code == "many_levels"]
    assert "1,000 most frequent are inputs" in warning.detail
    assert "11.8 % of the rows" in warning.detail


def test_duplicate_rows_are_counted_apart_from_identifiers() -> None:
    described = profile_of(
        {"Id": range(40), "area": [*range(38), 0, 1], "town": ["a", "b"] * 20, "d": ["NA"] * 40}
    )
    [warning] = [warning for warning in described.warnings if warning.code == "duplicate_rows"]
    assert warning.row == 39
    assert warning.detail.startswith("2 rows repeat an earlier one")
    distinct = profile_of({"a": [0, 0, 1, 1, "NA"], "b": ["x", "y", "x", "y", "x"]})
    assert codes(distinct) == []


def test_reading_warnings_come_along() -> None:
    described = profile_of({"x": [1] * 30 + ["many"], "y": range(31)})
    assert described.warnings[0].model_dump() == {
        "code": "mixed_numbers",
        "column": "x",
        "detail": "1 cell taken as missing: not a number (row 31: 'many').",
        "row": 31,
    }


def test_top_is_by_count_then_name_and_short() -> None:
    cells = [f"w{n:02}" for n in range(30)] * 2 + ["w29", "é" * 500]
    top = column_of(cells).top
    assert top is not None
    assert top[:3] == [("w29", 3), ("w00", 2), ("w01", 2)]
    assert len(top) == 20
    assert ("é" * 100, 2) in (column_of(["é" * 500, "é" * 500, "a", "b"]).top or [])


def test_dates_count_in_seconds() -> None:
    column = column_of(["1970-01-01", "1970-01-03", "NA"])
    assert (column.storage, column.missing) == ("datetime", 1)
    assert (column.min, column.mean, column.max) == (0, 86_400, 172_800)


def test_summary_of_ordinary_values() -> None:
    values = np.random.default_rng(0).lognormal(size=500)
    summary = summarize(values)
    z = (values - values.mean()) / values.std()
    assert summary.mean == pytest.approx(values.mean(), rel=1e-12)
    assert summary.std == pytest.approx(values.std(), rel=1e-12)
    assert summary.skewness == pytest.approx((z**3).mean(), rel=1e-9)
    assert summary.quantiles["0.75"] == pytest.approx(np.quantile(values, 0.75), rel=1e-12)


@pytest.mark.parametrize(
    "values",
    [
        [1.7976931348623157e308, -1.7976931348623157e308],
        [1.7976931348623157e308] * 7,
        [1e308, 1e308, 1.0, -1e308],
        [5e-324, 0.0, 1e-320],
        [0.1] * 9,
        [0.0],
        [1e200, *[1.0] * 1000],
        [1e15, 1e15 + 1],
    ],
)
def test_summary_is_finite_for_any_values(values: list[float]) -> None:
    summary = summarize(np.array(values))
    numbers = [summary.mean, summary.std, summary.skewness, *summary.quantiles.values()]
    assert all(map(math.isfinite, numbers))
    assert min(values) == summary.min <= summary.mean <= summary.max == max(values)
    assert (summary.std == 0) == (len(set(values)) == 1)


def test_skewness_of_one_outlier() -> None:
    n = 1000
    exact = (n - 2) / math.sqrt(n - 1)  # of n − 1 equal values and one other
    for scale in (1.0, 1e150, 1e300, 1e-300):
        values = np.zeros(n)
        values[3] = scale
        assert summarize(values).skewness == pytest.approx(exact, rel=1e-9)


def test_every_warning_is_documented() -> None:
    page = Path("docs/reading-tables.md").read_text()
    assert [code for code in get_args(WarningCode) if f"`{code}`" not in page] == []


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([0.0, 0.0, 10.0, 19.9, 20.0], {0: 2, 10: 1, 19: 2}),
        ([3.0, 3.0], {0: 2}),
        ([1.0, np.nextafter(1.0, 2.0)], {0: 1, 19: 1}),
        ([-1.7e308, 1.7e308], {0: 1, 19: 1}),
        ([0.0, 5e-324], {0: 1, 19: 1}),
    ],
)
def test_histogram_counts_every_value(values: list[float], places: dict[int, int]) -> None:
    found = summarize(np.array(values)).histogram
    assert found == [places.get(place, 0) for place in range(20)]
