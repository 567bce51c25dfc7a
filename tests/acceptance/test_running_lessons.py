"""What lessons claim holds, in the process that the command starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lessons.catalogue import lessons

ROOT = Path(__file__).parents[2]
# Of a core: how long a lesson takes depends on what runs beside it. With these it takes at most as
# long on an idle machine.
MOST_SECONDS = 30.0
MOST_OF_ALL = 8 * 60.0

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(2 * MOST_OF_ALL)]


def outcomes(*names: str) -> list[dict[str, Any]]:
    """With the `core_seconds` of each."""
    command = [sys.executable, "-m", "lessons", *names]
    found, before = [], 0.0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            spent = core_seconds(process.pid)
            found.append({**json.loads(line), "core_seconds": spent - before})
            before = spent
    assert process.returncode == 0
    return found


def core_seconds(pid: int) -> float:
    """Of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # utime stime cutime cstime


def failed(found: list[dict[str, Any]]) -> list[tuple[str, str, float]]:
    return [
        (one["name"], check["claim"], check["found"])
        for one in found
        for check in one["checks"]
        if not check["holds"]
    ]


@pytest.mark.slow
def test_all_lessons_hold_in_time() -> None:
    found = outcomes(*(lesson.name for lesson in lessons()))
    assert [one["name"] for one in found] == [lesson.name for lesson in lessons()]
    assert not failed(found)
    assert all(one["holds"] and one["plots"] and one["figures"] for one in found)
    spent = {one["name"]: one["core_seconds"] for one in found}
    assert {name: seconds for name, seconds in spent.items() if seconds > MOST_SECONDS} == {}
    assert sum(spent.values()) <= MOST_OF_ALL
