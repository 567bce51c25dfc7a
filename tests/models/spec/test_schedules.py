"""Learning rates over the course of training."""

from __future__ import annotations

import math
from typing import get_args

import pytest

from models.spec import Schedule
from models.spec.schedules import schedule_factor

SHARES = [step / 96 for step in range(97)]


@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_a_factor_is_between_nothing_and_all(schedule: Schedule) -> None:
    factors = [schedule_factor(schedule, share) for share in SHARES]
    assert min(factors) >= 0
    assert max(factors) <= 1
    assert max(factors) > 0.99


@pytest.mark.parametrize("share", SHARES)
def test_the_formulas(share: float) -> None:
    assert schedule_factor("constant", share) == 1
    assert schedule_factor("cosine", share) == pytest.approx(math.cos(math.pi * share / 2) ** 2)
    flat = 1.0 if share <= 0.5 else math.cos(math.pi * (share - 0.5)) ** 2
    assert schedule_factor("flat_cosine", share) == pytest.approx(flat, abs=1e-12)
    wave = math.sin(math.pi * math.log2(1 + 15 * share)) ** 2
    assert schedule_factor("multi_cosine", share) == pytest.approx(wave, abs=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "flat_cosine", "multi_cosine"])
def test_the_rate_ends_at_zero(schedule: Schedule) -> None:
    assert schedule_factor(schedule, 1.0) == pytest.approx(0, abs=1e-12)


def test_each_cycle_is_twice_as_long_as_the_one_before() -> None:
    """Zero at (2ᶜ − 1) / 15, full where the cycle's logarithm is halfway."""
    for cycle in range(5):
        assert schedule_factor("multi_cosine", (2**cycle - 1) / 15) == pytest.approx(0, abs=1e-12)
    for cycle in range(4):
        assert schedule_factor("multi_cosine", (2 ** (cycle + 0.5) - 1) / 15) == pytest.approx(1)
