"""What holds, and what does not."""

from __future__ import annotations

import math

import pytest

from lessons.outcome import Check, Outcome, Plot


@pytest.mark.parametrize(
    ("found", "at_least", "at_most"),
    [
        (0.4, False, True),
        (0.5, True, True),
        (0.6, True, False),
        (math.nan, False, False),
        (math.inf, True, False),
    ],
)
def test_a_check_compares_with_its_bound(found: float, at_least: bool, at_most: bool) -> None:
    assert Check.at_least("accuracy", found, 0.5).holds is at_least
    assert Check.at_most("accuracy", found, 0.5).holds is at_most


def test_the_claim_names_the_bound() -> None:
    assert Check.at_most("error", 1, 2.50).claim == "error ≤ 2.5"


def test_an_outcome_holds_if_every_check_does() -> None:
    good, bad = Check.at_least("a", 1, 0), Check.at_least("b", -1, 0)
    assert Outcome(figures=[], plots=[], checks=[good, good]).holds
    assert not Outcome(figures=[], plots=[], checks=[good, bad]).holds


def test_lines_become_series_of_plain_numbers() -> None:
    plot = Plot.lines("loss", "epoch", "loss", {"train": ([1, 2], [0.5, 0.25])}, logarithmic="y")
    assert plot.kind == "line"
    assert plot.series[0].model_dump() == {"name": "train", "x": [1.0, 2.0], "y": [0.5, 0.25]}
