"""Runs of lessons, from the request to the outcome, on both databases."""

from __future__ import annotations

from fastapi.testclient import TestClient
from house_api import resources_of
from sqlalchemy import update

from app.lessons import runs
from app.storage.database import Database, database_now
from app.storage.tables import FINISHED, LessonRun

OUTCOME = {
    "name": "xor",
    "holds": True,
    "seconds": 1.5,
    "checks": [{"claim": "right ≥ 0.98", "found": 1.0, "holds": True}],
    "figures": [],
    "plots": [],
    "note": None,
}


def claim(database: Database, owner: str = "wrk_a") -> runs.Claim | None:
    with database.writing() as session:
        return runs.claim(session, owner)


def is_waiting(database: Database) -> bool:
    with database.reading() as session:
        return runs.is_waiting(session)


def expire(database: Database) -> None:
    with database.writing() as session:
        session.execute(update(LessonRun).values(lease_until=database_now(-1.0)))


def test_a_run_ends_with_its_outcome(both_clients: TestClient) -> None:
    client, database = both_clients, resources_of(both_clients).database
    asked = client.post("/v1/lessons/xor", headers={"Idempotency-Key": "one"})
    assert asked.status_code == 202
    place = asked.headers["Location"]
    assert client.post("/v1/lessons/xor", headers={"Idempotency-Key": "one"}).json() == asked.json()
    assert client.get(place).json()["status"] == "queued"
    assert is_waiting(database)

    mine = claim(database)
    assert mine is not None
    assert (mine.lesson, mine.attempt) == ("xor", 1)
    assert not is_waiting(database)
    assert claim(database) is None
    assert client.get(place).json()["status"] == "running"
    with database.writing() as session:
        assert runs.succeed(session, mine, OUTCOME)
        assert not runs.fail(session, mine, "too late")
    shown = client.get(place).json()
    assert (shown["status"], shown["outcome"], shown["error"]) == ("succeeded", OUTCOME, None)


def test_a_run_of_a_dead_worker_is_taken_by_another(both_clients: TestClient) -> None:
    client, database = both_clients, resources_of(both_clients).database
    place = client.post("/v1/lessons/xor").headers["Location"]
    first = claim(database)
    assert first is not None
    expire(database)
    assert is_waiting(database)
    second = claim(database, "wrk_b")
    assert second is not None
    assert second.attempt == 2
    with database.writing() as session:
        assert not runs.renew(session, first)
        assert not runs.succeed(session, first, OUTCOME)
        assert runs.release(session, second)
    for _ in range(runs.MAX_ATTEMPTS - 1):
        assert claim(database, "wrk_c") is not None
        expire(database)
    assert claim(database) is None
    shown = client.get(place).json()
    assert (shown["status"], shown["error"]) == ("failed", runs.WORKER_DIED)


def test_what_cannot_be_run_is_refused(client: TestClient) -> None:
    assert client.post("/v1/lessons/none").status_code == 404
    assert client.get("/v1/lesson-runs/les_none").status_code == 404
    for _ in range(runs.MAX_WAITING):
        assert client.post("/v1/lessons/xor").status_code == 202
    assert client.post("/v1/lessons/xor").status_code == 429


def test_only_the_newest_finished_runs_are_kept(client: TestClient) -> None:
    database = resources_of(client).database
    for _ in range(runs.KEPT + 3):
        client.post("/v1/lessons/xor")
        mine = claim(database)
        assert mine is not None
        with database.writing() as session:
            runs.succeed(session, mine, OUTCOME)
    with database.reading() as session:
        finished = session.query(LessonRun).filter(LessonRun.state.in_(FINISHED))
        assert finished.count() <= runs.KEPT + 1
