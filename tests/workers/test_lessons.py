"""Lessons that were asked for over HTTP, run by a worker."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from house_api import resources_of, serving

from app.settings import Settings
from app.storage.tables import LessonRun
from workers import lessons
from workers.lessons import LessonRunner
from workers.workplace import Workplace


@pytest.fixture
def place(settings: Settings) -> Workplace:
    return Workplace.of(settings)


def test_a_lesson_is_run_and_its_checks_hold(settings: Settings, place: Workplace) -> None:
    with serving(settings) as client:
        run = client.post("/v1/lessons/xor").headers["Location"]
        LessonRunner(place).run_next()
        shown = client.get(run).json()
        assert shown["status"] == "succeeded", shown
        assert shown["outcome"]["holds"]
        assert shown["outcome"]["plots"]
        LessonRunner(place).run_next()  # nothing waits


def test_a_lesson_that_breaks_says_why(
    settings: Settings, place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lessons.sys, "executable", "/bin/false")
    with serving(settings) as client:
        run = client.post("/v1/lessons/xor").headers["Location"]
        LessonRunner(place).run_next()
        shown = client.get(run).json()
        assert shown["status"] == "failed"
        assert "killed" in shown["error"]


def test_a_worker_that_stops_leaves_it_to_another(settings: Settings, place: Workplace) -> None:
    with serving(settings) as client:
        run = client.post("/v1/lessons/xor").headers["Location"]
        place.stopping.set()
        LessonRunner(place).run_next()
        assert client.get(run).json()["status"] == "queued"
        assert _tries(client) == 0


def _tries(client: TestClient) -> int:
    with resources_of(client).database.reading() as session:
        return session.query(LessonRun).one().attempt
