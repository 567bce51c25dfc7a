"""What lessons claim holds, in the process that the command starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lessons.catalogue import lessons

ROOT = Path(__file__).parents[2]
QUICK = ("xor", "softmax")
MOST_SECONDS = 30.0  # of a lesson, on two cores
MOST_OF_ALL = 8 * 60.0

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(2 * MOST_OF_ALL)]


def outcomes(*names: str) -> list[dict[str, Any]]:
    answer = subprocess.run(
        [sys.executable, "-m", "lessons", *names], cwd=ROOT, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


def failed(found: list[dict[str, Any]]) -> list[tuple[str, str, float]]:
    return [
        (one["name"], check["claim"], check["found"])
        for one in found
        for check in one["checks"]
        if not check["holds"]
    ]


def test_two_quick_lessons_hold() -> None:
    found = outcomes(*QUICK)
    assert [one["name"] for one in found] == list(QUICK)
    assert not failed(found)
    assert all(one["holds"] and one["plots"] and one["figures"] for one in found)


@pytest.mark.slow
def test_all_lessons_hold_in_time() -> None:
    found = outcomes(*(lesson.name for lesson in lessons()))
    assert len(found) == len(lessons())
    assert not failed(found)
    assert {one["name"]: one["seconds"] for one in found if one["seconds"] > MOST_SECONDS} == {}
    assert sum(one["seconds"] for one in found) <= MOST_OF_ALL
