"""Lessons that were asked for over HTTP, run by a worker."""

from __future__ import annotations

import pytest

from app.lessons import runs
from app.storage.tables import LOCAL_TENANT, LessonRun, State
from workers import lessons
from workers.lessons import LessonRunner
from workers.workplace import Workplace


def run(workplace: Workplace) -> LessonRun:
    """What a worker makes of a run of `xor`."""
    with workplace.database.writing() as session:
        runs.begin(session, LOCAL_TENANT, "xor")
    LessonRunner(workplace).run_next()
    with workplace.database.reading() as session:
        found = runs.get(session, LOCAL_TENANT, "latest")
        session.expunge(found)
    return found


def test_a_lesson_is_run_and_its_checks_hold(workplace: Workplace) -> None:
    found = run(workplace)
    assert (found.state, found.error) == (State.SUCCEEDED, None)
    assert found.outcome is not None
    assert found.outcome["holds"]
    assert found.outcome["plots"]
    LessonRunner(workplace).run_next()  # nothing waits


def test_a_lesson_that_breaks_says_why(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lessons.sys, "executable", "/bin/false")
    found = run(workplace)
    assert found.state is State.FAILED
    assert "killed" in (found.error or "")


def test_a_worker_that_stops_leaves_it_to_another(workplace: Workplace) -> None:
    workplace.stopping.set()
    found = run(workplace)
    assert (found.state, found.attempt) == (State.QUEUED, 0)
