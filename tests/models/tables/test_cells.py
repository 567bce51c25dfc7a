from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from models.tables.cells import (
    MISSING,
    MISSING_AMONG_NUMBERS,
    epoch_seconds,
    is_missing,
    parse_dates,
    parse_numbers,
    read_floats,
)


def array(*cells: str) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(cells[:1], pa.string()), pa.array(cells[1:], pa.string())])


def float_of(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def test_numbers_are_those_of_float_without_underscores() -> None:
    random_ = random.Random(0)
    parts = [*"0123456789+-.eEinfnatyx_ ", "inf", "nan", "1e", "0x", "\u0661", "\uff11", "²", "ſ"]
    drawn = {"".join(random_.choices(parts, k=random_.randrange(1, 6))) for _ in range(20_000)}
    cells = sorted({cell.strip() for cell in drawn} - set(MISSING_AMONG_NUMBERS))
    cells += ["9" * 400, "1e-400", "0." + "0" * 400 + "1", "1.7976931348623159e308", "+Infinity"]
    values, odd = read_floats(array(*cells))
    read = [None if out else value for value, out in zip(values.tolist(), odd, strict=True)]
    assert sum(value is not None for value in read) > 500
    for cell, value in zip(cells, read, strict=True):
        expected = float_of(cell)
        both_nan = value is not None and math.isnan(value) and math.isnan(expected or 0.0)
        assert both_nan or value == expected, cell


def test_parse_numbers_tells_missing_from_odd() -> None:
    values, odd = parse_numbers(array("1.5", "NA", "None", "", "x", "inf", "1e400"))
    np.testing.assert_array_equal(values, [1.5] + [np.nan] * 6)
    np.testing.assert_array_equal(odd, [False, False, False, False, True, True, True])


def test_parse_numbers_of_no_cells() -> None:
    values, odd = parse_numbers(pa.array([], pa.string()))
    assert values.shape == odd.shape == (0,)


def test_none_is_a_word_and_no_number() -> None:
    cells = array("None", "NA")
    np.testing.assert_array_equal(is_missing(cells), [False, True])
    np.testing.assert_array_equal(is_missing(cells, among_numbers=True), [True, True])


@pytest.mark.parametrize(
    ("cell", "moment"),
    [
        ("2020-01-31", "2020-01-31"),
        ("2020/1/5", "2020-01-05"),
        ("2010-07", "2010-07-01"),
        ("2020-01-31T10:20", "2020-01-31T10:20"),
        ("2020-01-31 10:20:30.1234567", "2020-01-31T10:20:30.123456"),
        ("2020-01-31T10:20:30Z", "2020-01-31T10:20:30"),
        ("2020-01-31 10:20:30+02:00", "2020-01-31T08:20:30"),
        ("2020-01-31T10:20:30-0530", "2020-01-31T15:50:30"),
        ("0001-01-01", "0001-01-01"),
        ("9999-12-31", "9999-12-31"),
    ],
)
def test_dates(cell: str, moment: str) -> None:
    moments, odd = parse_dates(array(cell, "NA", "2020-01-31T10:20:30.123456789Z"))
    assert moments[0] == np.datetime64(moment, "us")
    assert np.isnat(moments[1])
    assert not odd.any()


@pytest.mark.parametrize(
    "cell",
    ["2020-02-30", "2020-13-01", "31/12/2020", "1203-04", "2020-01/05", "20200131", "10:20", "May"],
)
def test_no_dates(cell: str) -> None:
    moments, odd = parse_dates(array(cell))
    assert np.isnat(moments).all()
    assert odd.all()


def test_epoch_seconds() -> None:
    moments, _ = parse_dates(array("1970-01-02", "NA", "1969-12-31T23:59:59.5"))
    np.testing.assert_array_equal(epoch_seconds(moments), [86400.0, np.nan, -0.5])


def test_every_missing_token_is_documented() -> None:
    page = Path("docs/reading-tables.md").read_text()
    assert set(MISSING) < set(MISSING_AMONG_NUMBERS)
    for token in MISSING_AMONG_NUMBERS:
        assert not token or f"`{token}`" in page
