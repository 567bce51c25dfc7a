from __future__ import annotations

import pytest

from models.tables.wording import moment_text, number_text, rounded_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (20205800.0, "20205800"),
        (123456789012345.0, "123456789012345"),
        (0.1 + 0.2, "0.3"),
        (-3.0, "-3"),
        (1e150, "1e+150"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (20205800.4, 6, "20205800"),
        (1234.5678, 3, "1235"),
        (-1234.5678, 6, "-1234.57"),
        (0.00012345, 3, "0.000123"),
        (1e150, 6, "1e+150"),
        (float("inf"), 6, "inf"),
    ],
)
def test_rounded_numbers_keep_all_digits_before_the_point(
    value: float, digits: int, text: str
) -> None:
    assert rounded_text(value, digits) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1280534400.0, "2010-07-31"),
        (1280601000.5, "2010-07-31T18:30:00.5"),
        (1280601000.0, "2010-07-31T18:30:00"),
        (253402214400.0, "9999-12-31"),
        (-62135596800.0, "0001-01-01"),
    ],
)
def test_dates(seconds: float, text: str) -> None:
    assert moment_text(seconds) == text
