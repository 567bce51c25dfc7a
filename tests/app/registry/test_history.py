"""Where an alias has pointed, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, current_thread
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import finish, resources_of, submit, upload
from sqlalchemy import update

from app.storage.database import Database
from app.storage.tables import Alias

HISTORY = "/v1/aliases/champion/history"


@pytest.fixture
def model(both_clients: TestClient, tmp_path: Path) -> Callable[[], str]:
    """Registers a model; gives its id."""
    upload(both_clients)
    resources = resources_of(both_clients)
    return lambda: finish(resources, submit(both_clients)["id"], tmp_path / "model")


def point(client: TestClient, model_id: str) -> None:
    assert client.put("/v1/aliases/champion", json={"model_id": model_id}).status_code == 200


def back(client: TestClient) -> str | None:
    """Where the champion points after a rollback; None: it was refused."""
    answer = client.post("/v1/aliases/champion/rollback")
    if answer.status_code == 409:
        assert "cannot be rolled back" in answer.json()["detail"]
        return None
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_id"] == client.get("/v1/models/champion").json()["id"]
    return str(answer.json()["model_id"])


def history(client: TestClient, **params: Any) -> list[str | None]:
    answer = client.get(HISTORY, params=params)
    assert answer.status_code == 200, answer.text
    return [change["model_id"] for change in answer.json()["data"]]


def test_every_change_is_kept(both_clients: TestClient, model: Callable[[], str]) -> None:
    client = both_clients
    first, second = model(), model()
    point(client, second)
    point(client, second)  # it points there already
    client.delete("/v1/aliases/champion")
    third = model()  # the first without a champion

    assert history(client) == [third, None, second, first]
    page = client.get(HISTORY, params={"limit": 3}).json()
    assert page["has_more"]
    assert history(client, after=page["next"]) == [first]
    times = [change["changed_at"] for change in client.get(HISTORY).json()["data"]]
    assert times == sorted(times, reverse=True)
    assert history(client, after=1) == []  # nothing is older than the first change
    assert client.get("/v1/aliases/nobody/history").status_code == 404
    assert client.get(HISTORY, params={"after": "x"}).status_code == 422


def test_each_rollback_goes_back_a_step(both_clients: TestClient, model: Callable[[], str]) -> None:
    client = both_clients
    first, second, third = model(), model(), model()
    point(client, second)
    point(client, third)

    assert [back(client), back(client), back(client)] == [second, first, None]
    assert history(client) == [first, second, third, second, first]


def test_what_was_rolled_back_is_passed_over(
    both_clients: TestClient, model: Callable[[], str]
) -> None:
    client = both_clients
    first, second, third = model(), model(), model()
    point(client, second)
    assert back(client) == first
    point(client, third)

    assert [back(client), back(client)] == [first, None]


def test_a_model_may_come_twice(both_clients: TestClient, model: Callable[[], str]) -> None:
    client = both_clients
    first, second = model(), model()
    point(client, second)
    point(client, first)

    assert [back(client), back(client), back(client)] == [second, first, None]


def test_deleted_models_and_aliases_are_skipped(
    both_clients: TestClient, model: Callable[[], str]
) -> None:
    client = both_clients
    first, second, third = model(), model(), model()
    point(client, second)
    point(client, third)
    client.delete("/v1/aliases/champion")
    assert client.post("/v1/aliases/champion/rollback").status_code == 404
    point(client, third)
    assert client.delete(f"/v1/models/{second}").status_code == 204

    assert [back(client), back(client)] == [first, None]
    assert client.delete(f"/v1/models/{first}").status_code == 409
    assert history(client) == [first, third, None, third, second, first]


def test_a_change_by_the_version_before_is_gone_back_from_too(
    both_clients: TestClient, model: Callable[[], str]
) -> None:
    """It writes no history, and may work beside this one."""
    client = both_clients
    first, second = model(), model()
    with resources_of(client).database.writing() as session:
        session.execute(update(Alias).values(model_id=second))

    assert [back(client), back(client)] == [first, None]


ROLLBACK = "/v1/aliases/champion/rollback"


def test_a_version_that_has_moved_is_left_alone(
    both_clients: TestClient, model: Callable[[], str]
) -> None:
    client = both_clients
    first, second = model(), model()
    seen = client.get("/v1/aliases/champion")
    [listed] = client.get("/v1/aliases").json()["data"]
    point(client, second)

    stale = {"If-Match": seen.headers["ETag"]}
    body = {"model_id": first}
    refused = [
        client.put("/v1/aliases/champion", json=body, headers=stale),
        client.put(
            "/v1/aliases/champion",
            json={"model_id": second, "if_better_than": first, "force": True},
            headers=stale,
        ),
        client.post(ROLLBACK, headers=stale),
        client.delete("/v1/aliases/champion", headers=stale),
        client.put("/v1/aliases/other", json=body, headers={"If-Match": "*"}),
    ]
    assert [answer.status_code for answer in refused] == [412] * 5
    assert "check" in refused[0].json()["detail"].lower()
    assert seen.json() == listed
    assert seen.headers["ETag"] == f'"{listed["version"]}"'
    assert history(client) == [second, first]

    fresh = client.get("/v1/aliases/champion").headers["ETag"]
    moved = client.put("/v1/aliases/champion", json=body, headers={"If-Match": f'"0", {fresh}'})
    assert moved.status_code == 200
    back = client.post(ROLLBACK, headers={"If-Match": moved.headers["ETag"]})
    assert back.json()["model_id"] == second
    deleted = client.delete("/v1/aliases/champion", headers={"If-Match": "*"})
    assert deleted.status_code == 204
    assert client.get("/v1/aliases/champion").status_code == 404


def test_a_rollback_that_is_repeated_takes_one_step(
    both_clients: TestClient, model: Callable[[], str]
) -> None:
    client = both_clients
    first, second, third = model(), model(), model()
    point(client, second)
    point(client, third)
    key = {"Idempotency-Key": "once"}
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(client.post, ROLLBACK, headers=key) for _ in range(8)]
    bodies = [answer.result().json() for answer in answers]
    assert bodies == [bodies[0]] * 8
    assert bodies[0]["model_id"] == second
    assert client.get("/v1/aliases/champion").json() == bodies[0]
    client.post(ROLLBACK)
    assert client.post(ROLLBACK, headers=key).json() == bodies[0]
    assert client.get("/v1/models/champion").json()["id"] == first
    other = client.post("/v1/aliases/other/rollback", headers=key)
    assert other.status_code == 422


def test_of_rollbacks_at_one_time_one_is_taken(
    both_clients: TestClient, model: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has looked before any has moved the alias."""
    client = both_clients
    _, second, third = model(), model(), model()
    point(client, second)
    point(client, third)
    looked = Barrier(4)
    writing = Database.writing

    def after_all(self: Database) -> Any:
        if current_thread().name != "audit":  # which stores when it likes
            looked.wait(timeout=10)
        return writing(self)

    with monkeypatch.context() as patched, ThreadPoolExecutor(4) as pool:
        patched.setattr(Database, "writing", after_all)
        answers = [pool.submit(client.post, ROLLBACK) for _ in range(4)]
        statuses = sorted(answer.result().status_code for answer in answers)
    assert statuses == [200, 409, 409, 409]
    assert history(client)[:2] == [second, third]
