"""Quotas: who sets them, and that they hold, also under concurrent requests."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from foldhouse_client import Foldhouse
from house_api import become, houses_csv, resources_of, serving, submit, train, upload
from jobs_in_database import BOOT, add_dataset, claim, submit_shards
from jobs_in_database import submit as submit_one
from sqlalchemy import select, update

from app.accounts import predicted_rows, quotas
from app.accounts.predicted_rows import PredictedRows
from app.accounts.quotas import NO_LIMITS, Limits
from app.errors import OverQuota
from app.jobs import attempts, lifecycle
from app.settings import Settings
from app.storage.blobs import Blobs
from app.storage.database import Database, database_now
from app.storage.sweep import sweep
from app.storage.tables import EndedAttempt, Shard, State

THREADS = 20
ROW = {"Area": 100, "Quality": 3, "Zone": "south"}
SWEEP: dict[str, Any] = {
    "dataset_id": "latest",
    "target": "Price",
    "search_space": {"dropout": {"low": 0.0, "high": 0.5}},
    "sampler": "random",
    "n_trials": 1,
}


def set_own(client: TestClient, tenant: str = "local", **values: int) -> dict[str, Any]:
    response = client.put(f"/v1/quotas/{tenant}", json=values)
    assert response.status_code == 200, response.text
    shown: dict[str, Any] = response.json()
    return shown


def set_in(database: Database, tenant: str, **values: int | None) -> None:
    with database.writing() as session:
        quotas.set_own(session, tenant, values)


def at_once(send: Callable[[int], int]) -> Counter[int]:
    """The answers to requests of so many threads, all at the same time."""
    start = threading.Barrier(THREADS)

    def wait_and_send(number: int) -> int:
        start.wait()
        return send(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return Counter(pool.map(wait_and_send, range(THREADS)))


def test_the_settings_are_the_defaults(tmp_path: Path, sqlite_url: str) -> None:
    settings = Settings(data_dir=tmp_path / "data", database_url=sqlite_url, max_datasets=7)
    assert quotas.defaults(settings) == Limits(queued_jobs=1000, datasets=7)
    with serving(settings) as client:
        shown = client.get("/v1/quotas/lab").json()
        assert shown["own"] == dict.fromkeys(quotas.NAMES)
        assert shown["quotas"]["datasets"] == {"limit": 7, "used": 0}
        assert shown["quotas"]["stored_bytes"] == {"limit": None, "used": 0}
        shown = set_own(client, "lab", datasets=0, queued_jobs=3)
        assert shown["own"] == dict.fromkeys(quotas.NAMES) | {"datasets": 0, "queued_jobs": 3}
        assert shown["quotas"]["datasets"]["limit"] is None
        assert shown["quotas"]["queued_jobs"]["limit"] == 3
        assert client.get("/v1/quotas").json() == {"data": [shown]}
        assert client.delete("/v1/quotas/lab").status_code == 204
        assert client.get("/v1/quotas").json() == {"data": []}
        assert client.get("/v1/quotas/lab").json()["quotas"]["datasets"]["limit"] == 7


@pytest.mark.parametrize("value", [-1, 1.5, 2**53, "many", "1", True])
def test_quotas_are_whole_numbers(client: TestClient, value: object) -> None:
    refused = client.put("/v1/quotas/lab", json={"datasets": value})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/datasets"


def test_only_the_operator_sets_them(client: TestClient) -> None:
    become(client, "local")
    own = set_own(client, "lab", datasets=2)
    set_own(client, "other", datasets=3)
    become(client, "lab")
    assert client.get("/v1/quotas/lab").json() == own
    assert client.get("/v1/quotas").json() == {"data": [own]}
    for method in ("PUT", "DELETE"):
        assert client.request(method, "/v1/quotas/lab", json={}).status_code == 403
        assert client.request(method, "/v1/quotas/other", json={}).status_code == 404
    assert client.get("/v1/quotas/other").status_code == 404
    become(client, "lab", "editor")
    assert client.get("/v1/quotas/lab").status_code == 403
    assert client.get("/v1/whoami").json()["quotas"] == own["quotas"]


def test_the_client_sets_them(client: TestClient) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        body = {"json": json.loads(request.content)} if request.content else {}
        sent = client.request(request.method, request.url.path, **body)
        return httpx.Response(sent.status_code, content=sent.content)

    with Foldhouse(transport=httpx.MockTransport(answer)) as service:
        shown = service.set_quotas("lab", datasets=2)
        assert service.all_quotas() == [shown]
        assert service.quotas("lab")["own"]["datasets"] == 2
        service.reset_quotas("lab")
        assert service.all_quotas() == []
        assert service.whoami()["quotas"]["queued_jobs"] == {"limit": 1000, "used": 0}


def test_what_is_used(both_clients: TestClient, tmp_path: Path) -> None:
    client = both_clients
    set_own(client, predicted_rows_per_minute=100)
    train(client, tmp_path)
    waiting = submit(client)["id"]
    assert client.post("/v1/sweeps", json=SWEEP).status_code == 202
    assert client.post("/v1/predict", json={"rows": [ROW] * 3}).is_success
    database = resources_of(client).database
    with database.writing() as session:
        shard = session.scalars(select(Shard).where(Shard.job_id == waiting)).one()
    claim(database, shard)
    with database.writing() as session:
        long_ago = update(Shard).where(Shard.id == shard.id).values(claimed_at=database_now(-100))
        session.execute(long_ago)
    used = {name: one["used"] for name, one in client.get("/v1/whoami").json()["quotas"].items()}
    assert 100 <= used.pop("device_seconds_per_day") < 110
    assert used == {
        "stored_bytes": len(houses_csv()),
        "datasets": 1,
        "queued_jobs": 1,
        "running_jobs": 1,
        "predicted_rows_per_minute": 3,
    }


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/sweeps"])
def test_of_jobs_submitted_at_once_as_many_are_queued_as_may(
    both_clients: TestClient, path: str
) -> None:
    client = both_clients
    upload(client)
    set_own(client, queued_jobs=5)
    body = SWEEP if path == "/v1/sweeps" else {"dataset_id": "latest", "target": "Price"}

    answers = at_once(lambda _: client.post(path, json=body).status_code)

    assert answers == {202: 5, 429: THREADS - 5}
    assert client.get("/v1/whoami").json()["quotas"]["queued_jobs"]["used"] == 5


@pytest.mark.parametrize("name", ["datasets", "stored_bytes"])
def test_of_uploads_at_once_as_many_are_stored_as_may(both_clients: TestClient, name: str) -> None:
    client = both_clients  # and another process: one reads its uploads in turn
    size = len(table(0))
    set_own(client, **{name: 5 if name == "datasets" else 5 * size + 1})

    with serving(resources_of(client).settings) as elsewhere:
        answers = at_once(lambda number: send((client, elsewhere)[number % 2], number))

    assert answers == {201: 5, 429 if name == "datasets" else 507: THREADS - 5}
    folders = list((resources_of(client).settings.root / "storage" / "datasets").iterdir())
    assert len(folders) == 5
    # What is stored already needs no room.
    stored = client.get("/v1/datasets/latest/content").content
    again = client.post("/v1/datasets", content=stored, headers={"Content-Type": "text/csv"})
    assert again.status_code == 200
    client.delete("/v1/datasets/latest")
    assert send(client, THREADS) == 201


def send(client: TestClient, number: int) -> int:
    headers = {"Content-Type": "text/csv"}
    return client.post("/v1/datasets", content=table(number), headers=headers).status_code


def table(number: int) -> str:
    """All of one length."""
    return houses_csv().replace("Quality", f"Extra{number:02}")


def test_refusals_say_when_to_come_again(client: TestClient) -> None:
    upload(client)
    set_own(client, datasets=1)
    headers = {"Content-Type": "text/csv"}
    refused = client.post("/v1/datasets", content=table(1), headers=headers)
    assert refused.status_code == 429
    assert refused.json()["type"].endswith("/over-quota")
    assert refused.headers["Retry-After"] == "60"
    set_own(client, stored_bytes=1)
    refused = client.post("/v1/datasets", content=table(1), headers=headers)
    assert refused.status_code == 507
    assert refused.json()["type"].endswith("/over-storage-quota")
    set_own(client, queued_jobs=1)
    submit(client)
    refused = client.post("/v1/jobs", json={"dataset_id": "latest", "target": "Price"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "30")


def test_a_tenant_does_not_run_more_jobs_than_it_may(database: Database) -> None:
    dataset_id = add_dataset(database)
    set_in(database, "few", running_jobs=2)
    long = submit_shards(database, 3, dataset_id, "few")
    more = [submit_one(database, dataset_id, "few") for _ in range(3)]
    others = [submit_one(database, dataset_id, "other") for _ in range(3)]
    taken = []
    for _ in range(7):
        with database.writing() as session:
            [shard_id] = attempts.due(session, limit=1)
            assert lifecycle.claim(session, shard_id, owner="wrk_a", boot_id=BOOT) is not None
            taken.append(shard_id)
    # A job that runs may have its other shards run; others go on meanwhile.
    assert {shard.id for shard in (*long, more[0], *others)} == set(taken)
    with database.writing() as session:
        assert attempts.due(session, limit=1) == []
        assert lifecycle.claim(session, more[1].id, owner="wrk_a", boot_id=BOOT) is None
        fence = attempts.Fence(more[0].id, 1, "wrk_a")
        assert lifecycle.fail(session, fence, "it does not")
    with database.writing() as session:
        assert attempts.due(session, limit=3) == [more[1].id, more[2].id]
        assert lifecycle.claim(session, more[1].id, owner="wrk_a", boot_id=BOOT) is not None
        assert lifecycle.claim(session, more[2].id, owner="wrk_a", boot_id=BOOT) is None


def test_the_default_holds_where_a_tenant_has_no_quota_of_its_own(database: Database) -> None:
    dataset_id = add_dataset(database)
    first, second = (submit_one(database, dataset_id) for _ in range(2))
    quota = Limits(running_jobs=1)
    with database.writing() as session:
        for shard, expected in ((first, True), (second, False)):
            claimed = lifecycle.claim(session, shard.id, owner="w", boot_id=BOOT, quota=quota)
            assert (claimed is not None) is expected
        assert attempts.due(session, limit=1, quota=quota) == []
    set_in(database, "local", running_jobs=0)
    with database.writing() as session:
        assert attempts.due(session, limit=1, quota=quota) == [second.id]


def test_of_claims_at_once_as_many_run_as_may(database: Database) -> None:
    dataset_id = add_dataset(database)
    set_in(database, "local", running_jobs=5)
    shards = [submit_one(database, dataset_id) for _ in range(THREADS)]

    def take(number: int) -> int:
        with database.writing() as session:
            shard_id = shards[number].id
            claimed = lifecycle.claim(session, shard_id, owner=f"wrk_{number}", boot_id=BOOT)
        return claimed is not None

    assert at_once(take) == {True: 5, False: THREADS - 5}


def test_seconds_of_the_device_are_those_of_a_day(both_clients: TestClient, tmp_path: Path) -> None:
    client = both_clients
    database = resources_of(client).database
    train(client, tmp_path)
    set_own(client, device_seconds_per_day=100)
    waiting = submit(client)["id"]
    with database.writing() as session:
        session.execute(update(EndedAttempt).values(seconds=60.0))
        session.add(EndedAttempt(tenant="local", seconds=39.0))
        session.add(EndedAttempt(tenant="other", seconds=1000.0))
        day_ago = database_now(-quotas.DAY - 1)
        session.add(EndedAttempt(tenant="local", seconds=1000.0, ended_at=day_ago))
        shard = session.scalars(select(Shard).where(Shard.job_id == waiting)).one()
        assert quotas.device_seconds(session, "local") == 99.0
        assert attempts.due(session, limit=1) == [shard.id]
        session.add(EndedAttempt(tenant="local", seconds=2.0))
        session.flush()
        assert attempts.due(session, limit=1) == []
        assert lifecycle.claim(session, shard.id, owner="wrk_a", boot_id=BOOT) is None
    refused = client.post("/v1/jobs", json={"dataset_id": "latest", "target": "Price"})
    assert refused.status_code == 429
    assert "101 seconds" in refused.json()["detail"]

    sweep(database, Blobs(resources_of(client).settings.resolved_storage_url))
    with database.reading() as session:
        assert sorted(session.scalars(select(EndedAttempt.seconds))) == [2.0, 39.0, 60.0, 1000.0]


def test_each_end_of_an_attempt_counts_it(database: Database) -> None:
    ends: list[Callable[..., Any]] = [
        lambda session, fence: lifecycle.fail(session, fence, "it does not"),
        lifecycle.cancel,
        lifecycle.release,
        lambda session, fence: lifecycle.lose(session, fence, "it died"),
    ]
    for count, end in enumerate(ends, start=1):
        shard = submit_one(database)
        fence = claim(database, shard).fence
        with database.writing() as session:
            began = database_now(-10.0)
            session.execute(update(Shard).where(Shard.id == shard.id).values(claimed_at=began))
            end(session, fence)
        with database.reading() as session:
            assert len(session.scalars(select(EndedAttempt.id)).all()) == count
            found = quotas.device_seconds(session, "local")
            assert 10.0 * count <= found < 10.0 * count + 5
            assert session.scalar(select(Shard.id).where(Shard.state == State.RUNNING)) is None


PREDICTIONS: dict[str, dict[str, Any]] = {
    "/v1/predict": {"json": {"rows": [ROW] * 2}},
    "/v1/models/latest/predict": {
        "content": "Area,Quality,Zone\n" + "100,3,south\n" * 2,
        "headers": {"Content-Type": "text/csv"},
    },
    "/invocations": {"json": {"dataframe_records": [ROW] * 2}},
    "/v2/models/champion/infer": {
        "json": {"inputs": [{"name": "Area", "shape": [2], "datatype": "FP64", "data": [1, 2]}]}
    },
}


def test_rows_are_counted_on_every_path(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr(predicted_rows.time, "monotonic", lambda: now)
    train(client, tmp_path)
    set_own(client, predicted_rows_per_minute=5)
    for path, rest in PREDICTIONS.items():
        for expected in (200, 200, 429):
            answer = client.post(path, **rest)
            assert answer.status_code == expected, (path, answer.text)
        assert answer.headers["Retry-After"] == "60"
        now += 59
        assert client.post(path, **rest).status_code == 429
        now += 1
        resources_of(client)[PredictedRows].forget()


def test_a_known_quota_is_not_looked_up_again(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(client, tmp_path)
    set_own(client, predicted_rows_per_minute=1000)
    assert client.post("/v1/predict", json={"rows": [ROW]}).is_success
    monkeypatch.setattr(PredictedRows, "_look_up", lambda *_: pytest.fail("looked up"))
    assert client.post("/v1/predict", json={"rows": [ROW]}).is_success


def test_a_process_sees_a_quota_that_another_has_set(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicted_rows, "FRESH", 0.0)
    rows = PredictedRows(database, NO_LIMITS)
    rows.take("lab", 1000)
    set_in(database, "lab", predicted_rows_per_minute=10)
    rows.take("lab", 10)
    with pytest.raises(OverQuota):
        rows.take("lab", 1)
    assert rows.used("lab") == 10


def test_threads_count_rows_together(database: Database) -> None:
    rows = PredictedRows(database, Limits(predicted_rows_per_minute=5))

    def take(_: int) -> int:
        try:
            rows.take("local", 1)
        except OverQuota:
            return False
        return True

    assert at_once(take) == {True: 5, False: THREADS - 5}
