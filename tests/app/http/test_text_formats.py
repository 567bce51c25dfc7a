"""CSV that leaves the service, and who gets it."""

from __future__ import annotations

import csv
import io

import pytest

from app.http.csv_text import Cell, csv_lines, neutral
from app.http.media import wants_csv


@pytest.mark.parametrize("number", ["-5", "+5.", "-.5", "-1e-9", "+1.5E+10"])
def test_numbers_stay_numbers(number: str) -> None:
    assert neutral(number) == number


@pytest.mark.parametrize("text", ["=1", "+1+1", "-2-cmd", "@sum", "-", "\t=1", "\r=1", "--5", "=5"])
def test_formulas_become_text(text: str) -> None:
    assert neutral(text) == "'" + text


def test_floats_survive_being_written() -> None:
    floats = [0.1, 1 / 3, 1e-300, -5e22, 208500.12345678901]

    text = "".join(csv_lines(["x"], [[[value]] for value in floats]))

    assert [float(row["x"]) for row in csv.DictReader(io.StringIO(text))] == floats


def test_text_is_quoted_where_it_must() -> None:
    rows: list[list[Cell]] = [["a,b", 'say "x"', None], ["two\nlines", "=f()", -1.5]]

    text = "".join(csv_lines(["=h", "b", "c"], [rows]))

    assert list(csv.reader(io.StringIO(text))) == [
        ["'=h", "b", "c"],
        ["a,b", 'say "x"', ""],
        ["two\nlines", "'=f()", "-1.5"],
    ]


@pytest.mark.parametrize(
    ("accept", "default", "expected"),
    [
        (None, True, True),
        (None, False, False),
        ("*/*", True, True),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False, False),
        ("text/csv", False, True),
        ("application/json", True, False),
        ("text/*", False, True),
        ("application/json;q=0.5, text/csv;q=0.9", False, True),
        ("text/csv;q=0, */*", True, False),
        ("TEXT/CSV; charset=utf-8", False, True),
        ("image/png", False, False),
        ("text/csv;q=much", False, False),
    ],
)
def test_accept(accept: str | None, default: bool, expected: bool) -> None:
    assert wants_csv(accept, default) is expected
