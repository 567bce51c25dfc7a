"""Lock files tell the living from the dead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workers.locks import Locks


def test_a_lock_is_free_when_it_is_here_and_nobody_holds_it(tmp_path: Path) -> None:
    locks = Locks(tmp_path / "locks")
    assert not locks.is_free("shd_1", "wrk_a")  # no file: nothing is known
    with locks.held("shd_1", "wrk_a"):
        assert not locks.is_free("shd_1", "wrk_a")
        assert not locks.is_free("shd_1", "wrk_b")
        with pytest.raises(BlockingIOError), locks.held("shd_1", "wrk_a"):
            pass
    assert locks.is_free("shd_1", "wrk_a")
    assert locks.all() == [("shd_1", "wrk_a")]
    locks.remove("shd_1", "wrk_a")
    assert locks.all() == []


def test_a_child_that_outlives_its_supervisor_keeps_the_lock(tmp_path: Path) -> None:
    locks = Locks(tmp_path)
    with locks.held("shd_1", "wrk_a") as descriptor:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[descriptor]
        )
    assert not locks.is_free("shd_1", "wrk_a")
    child.kill()
    child.wait()
    assert child.stdin is not None
    child.stdin.close()
    assert locks.is_free("shd_1", "wrk_a")
