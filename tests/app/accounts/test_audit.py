"""The audit: what is in it, and that nobody changes it unnoticed."""

from __future__ import annotations

import csv
import io
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from foldhouse_client import Foldhouse
from house_api import become, resources_of, serving, submit, train, upload
from sqlalchemy import delete, select, update
from sqlalchemy.exc import OperationalError
from test_serve import started
from typer.testing import CliRunner
from worker_process import environment

from app.accounts import audit, chain, secrets
from app.accounts.audit import Audit
from app.accounts.chain import ChainBroken, Entry
from app.cli import cli
from app.settings import Settings
from app.storage.database import Database
from app.storage.tables import AuditChain, AuditRow

ROW = {"Area": 100, "Quality": 3, "Zone": "south"}
THREADS = 20


def entry(**values: Any) -> Entry:
    content: dict[str, Any] = {
        "at": datetime.now(UTC),
        "tenant": "local",
        "key_id": None,
        "role": "admin",
        "method": "POST",
        "route": "/v1/jobs",
        "object_id": None,
        "address": "10.0.0.1",
        "request_id": "r",
        "status": 202,
    }
    return Entry(**content | values)


def append(database: Database, *entries: Entry) -> None:
    with database.writing() as session:
        chain.append(session, entries)


def rows_of(client: TestClient, **query: str) -> list[dict[str, Any]]:
    """What the audit has, oldest first."""
    assert resources_of(client)[Audit].store()
    answer = client.get("/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows[::-1]


def test_who_did_what_when(both_clients: TestClient) -> None:
    client = both_clients
    key_id = become(client, "local")
    uploaded = upload(client)
    job = submit(client)
    cancelled = client.post("/v1/jobs/latest/cancel")
    refused = client.post("/v1/jobs", json={"dataset_id": "latest", "target": "Prize"})
    client.put("/v1/quotas/lab", json={"datasets": 1})
    client.delete("/v1/datasets/ds_nothing")

    rows = rows_of(client)

    told = [(row["method"], row["route"], row["object_id"], row["status"]) for row in rows]
    assert told == [
        ("POST", "/v1/datasets", uploaded["id"], 201),
        ("POST", "/v1/jobs", job["id"], 202),
        ("POST", "/v1/jobs/{job_id}/cancel", job["id"], 202),
        ("POST", "/v1/jobs", None, 422),
        ("PUT", "/v1/quotas/{tenant}", "lab", 200),
        ("DELETE", "/v1/datasets/{dataset_id}", "ds_nothing", 404),
    ]
    assert refused.status_code == 422
    assert rows[2]["request_id"] == cancelled.headers["X-Request-ID"]
    for number, row in enumerate(rows, start=1):
        assert row["id"] == str(number)
        sender = [row[name] for name in ("tenant", "key_id", "role", "address", "count")]
        assert sender == ["local", key_id, "admin", "testclient", 1]
        age = datetime.now(UTC) - datetime.fromisoformat(row["at"])
        assert timedelta() < age < timedelta(minutes=5)
    assert chain.check(resources_of(client).database).rows == len(rows)


def test_reading_and_predicting_are_not_in_it(client: TestClient, tmp_path: Path) -> None:
    train(client, tmp_path)
    before = len(rows_of(client))
    csv_type = {"Content-Type": "text/csv"}
    tensor = {"name": "Area", "shape": [1], "datatype": "FP64", "data": [1]}
    answers = [
        client.get("/v1/jobs"),
        client.options("/v1/jobs"),
        client.post("/v1/jobs:validate", json={"dataset_id": "latest", "target": "Price"}),
        client.post("/v1/predict", json={"rows": [ROW]}),
        client.post("/v1/models/latest/predict", content="Area\n1\n", headers=csv_type),
        client.post("/invocations", json={"dataframe_records": [ROW]}),
        client.post("/v2/models/champion/infer", json={"inputs": [tensor]}),
    ]
    assert all(answer.is_success for answer in answers)
    assert len(rows_of(client)) == before


def test_signing_in_says_as_whom(client: TestClient) -> None:
    key_id = become(client, "lab", "viewer")
    secret = client.headers.pop("Authorization").removeprefix("Bearer ")
    assert client.post("/sign-in", json={"key": secret}).status_code == 204
    become(client, "lab")
    [row] = rows_of(client)
    assert (row["route"], row["tenant"], row["key_id"]) == ("/sign-in", "lab", key_id)


def test_what_a_client_makes_up_can_be_stored(both_clients: TestClient) -> None:
    client = both_clients
    long = "x" * 1_000
    client.request("MADE-UP", f"/v1/a%00b%0A%F0%9F%98%80/{long}")
    client.delete("/v1/datasets/a%00b")
    client.delete(f"/v1/datasets/{long}")
    rows = rows_of(client)
    assert [row["method"] for row in rows] == ["other", "DELETE", "DELETE"]
    assert rows[0]["route"].startswith("/v1/a\ufffdb\ufffd\N{GRINNING FACE}/xx")
    assert rows[1]["object_id"] == "a\ufffdb"
    assert {len(rows[0]["route"]), len(rows[2]["object_id"])} == {255}


@pytest.mark.parametrize(
    "since", ["2026-01-01", "2026-01-01T00:00:00", "0001-01-01T00:00:00+23:59", "0.5", "then"]
)
def test_a_time_needs_a_zone(client: TestClient, since: str) -> None:
    assert client.get("/v1/audit", params={"since": since}).status_code == 422


def test_refused_attempts_are_counted_together(client: TestClient) -> None:
    upload(client)
    become(client, "local")
    operator = client.headers["Authorization"]
    viewer_id = become(client, "lab", "viewer")
    client.put("/v1/quotas/local", json={"queued_jobs": 1}, headers={"Authorization": operator})
    for path in ("/v1/keys", "/v1/quotas", "/v1/audit"):
        assert client.get(path).status_code == 403
    unknown = {"Authorization": f"Bearer {secrets.new_key('admin')}"}
    for _ in range(3):
        assert client.post("/v1/jobs", headers=unknown).status_code == 401
    assert client.get("/v1/jobs", headers={"Authorization": "Bearer x"}).status_code == 401
    client.headers["Authorization"] = operator
    for _ in range(3):
        client.post("/v1/jobs", json={"dataset_id": "latest", "target": "Price"})

    refused = [row for row in rows_of(client) if row["status"] in audit.REFUSED]

    names = ("status", "count", "tenant", "key_id", "role", "method", "route")
    told = {tuple(row[name] for name in names) for row in refused}
    operator_id = client.get("/v1/whoami").json()["key_id"]
    assert told == {
        (403, 3, "lab", viewer_id, "viewer", "GET", "/v1/keys"),
        (401, 4, None, None, None, "POST", "/v1/jobs"),
        (429, 2, "local", operator_id, "admin", "POST", "/v1/jobs"),
    }


def test_a_minute_is_one_row(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(audit.time, "monotonic", lambda: now)
    recorder = Audit(database, days=0)
    for _ in range(5):
        recorder.note(entry(status=401))
    now += audit.COUNTED - 1
    assert recorder.store(counted=False)
    assert stored(database) == []
    recorder.note(entry(status=401))
    now += 1
    assert recorder.store(counted=False)
    assert [row.count for row in stored(database)] == [6]
    recorder.note(entry(status=401))
    assert recorder.store()
    assert [row.count for row in stored(database)] == [6, 1]


def test_a_flood_of_refused_attempts_fills_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MOST_COUNTED", 10)
    recorder = Audit(database, days=0)
    for number in range(1_000):
        recorder.note(entry(status=401, address=f"10.0.0.{number}", tenant=None))
    recorder.note(entry(status=401, address="10.0.0.3", tenant=None))
    recorder.note(entry(status=403, address="10.0.1.1", tenant="lab"))
    assert recorder.store()
    rows = {(row.tenant, row.address): row.count for row in stored(database)}
    assert len(rows) == 12
    assert rows[None, "10.0.0.3"] == 2
    assert rows[None, audit.OTHERS] == 990
    assert rows["lab", audit.OTHERS] == 1


def stored(database: Database) -> list[AuditRow]:
    with database.reading() as session:
        return list(session.scalars(select(AuditRow).order_by(AuditRow.id)))


def test_whose_audit_it_is(client: TestClient) -> None:
    become(client, "local")
    upload(client)
    become(client, "lab")
    dataset = upload(client)
    client.get("/v1/jobs", headers={"Authorization": "Bearer x"})
    assert [row["tenant"] for row in rows_of(client)] == ["lab"]
    assert rows_of(client, tenant="local") == []
    become(client, "lab", "editor")
    assert client.get("/v1/audit").status_code == 403
    key_id = become(client, "local")
    assert [row["tenant"] for row in rows_of(client)] == ["local", "lab", None, "lab"]
    assert [row["status"] for row in rows_of(client, tenant="lab")] == [201, 403]
    assert [row["tenant"] for row in rows_of(client, object_id=dataset["id"])] == ["lab"]
    assert rows_of(client, key_id=key_id) == []
    since = rows_of(client)[1]["at"]
    assert len(rows_of(client, since=since)) == 3
    assert len(rows_of(client, until=since)) == 1


def test_pages_and_csv(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.accounts.audit_endpoints.CSV_ROWS", 2)
    append(resources_of(client).database, *(entry(route=f"=/{number}") for number in range(5)))
    first = client.get("/v1/audit", params={"limit": 2}).json()
    assert [row["id"] for row in first["data"]] == ["5", "4"]
    assert (first["has_more"], first["next"]) == (True, "4")
    answer = client.get("/v1/audit", params={"after": "5"}, headers={"Accept": "text/csv"})
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["id"] for row in rows] == ["4", "3", "2", "1"]
    assert rows[0].keys() == first["data"][0].keys()
    assert rows[0]["route"] == "'=/3"  # which a spreadsheet would compute

    def send(request: httpx.Request) -> httpx.Response:
        sent = client.get(request.url.path, params=dict(request.url.params))
        return httpx.Response(sent.status_code, content=sent.content)

    with Foldhouse(transport=httpx.MockTransport(send)) as service:
        assert len(list(service.audit(tenant="local"))) == 5


def change(session: Any) -> None:
    session.execute(update(AuditRow).where(AuditRow.id == 3).values(object_id="job_2"))


def change_hash(session: Any) -> None:
    session.execute(update(AuditRow).where(AuditRow.id == 3).values(sha256="0" * 64))


def remove_first(session: Any) -> None:
    session.execute(delete(AuditRow).where(AuditRow.id == 1))


def remove_inner(session: Any) -> None:
    session.execute(delete(AuditRow).where(AuditRow.id == 3))


def remove_last(session: Any) -> None:
    session.execute(delete(AuditRow).where(AuditRow.id == 5))


def remove_all(session: Any) -> None:
    session.execute(delete(AuditRow))


def shift(session: Any) -> None:
    """Close the gap that a removed row leaves."""
    session.execute(delete(AuditRow).where(AuditRow.id == 4))
    session.execute(update(AuditRow).where(AuditRow.id == 5).values(id=4))
    session.execute(update(AuditChain).values(last_id=4))


@pytest.mark.parametrize(
    ("harm", "place"),
    [
        (change, "Row 3"),
        (change_hash, "Row 3"),
        (remove_first, "Row 1"),
        (remove_inner, "Row 3"),
        (remove_last, "newest"),
        (remove_all, "newest"),
        (shift, "Row 4"),
    ],
)
def test_a_change_is_noticed(database: Database, harm: Callable[[Any], None], place: str) -> None:
    append(database, *(entry(object_id="job_1", request_id=f"r{n}") for n in range(5)))
    assert chain.check(database).rows == 5
    with database.writing() as session:
        harm(session)
    with pytest.raises(ChainBroken, match=place):
        chain.check(database)


def test_old_rows_go_and_the_rest_can_be_checked(database: Database) -> None:
    now = datetime.now(UTC)
    ages = [20, 15, 5, 12, 1]  # days; the clocks of two machines need not agree
    append(database, *(entry(at=now - timedelta(days=age)) for age in ages))
    with database.writing() as session:
        chain.remove_older(session, days=10)
    assert [row.id for row in stored(database)] == [3, 4, 5]
    checked = chain.check(database)
    assert checked.first is not None
    assert (checked.rows, checked.first.id) == (3, 3)
    with database.writing() as session:
        chain.remove_older(session, days=0)
    assert chain.check(database).rows == 0
    append(database, entry())
    assert [row.id for row in stored(database)] == [6]
    assert chain.check(database).rows == 1


def test_rows_are_kept_for_as_long_as_the_setting_says(settings: Settings) -> None:
    database = Database(settings.resolved_database_url)
    append(database, entry(at=datetime.now(UTC) - timedelta(days=3)), entry())
    with serving(settings):
        assert len(stored(database)) == 2
    with serving(settings.model_copy(update={"audit_days": 2})) as client:
        upload(client)
    assert [row.id for row in stored(database)] == [2, 3]
    assert chain.check(database).rows == 2
    database.close()


def test_recorders_append_to_one_chain(database_url: str) -> None:
    """Of two processes, each with a connection of its own."""
    databases = [Database(database_url) for _ in range(2)]
    recorders = [Audit(database, days=0) for database in databases]
    start = threading.Barrier(THREADS)

    def write(number: int) -> bool:
        recorder = recorders[number % 2]
        start.wait()
        for place in range(10):
            recorder.note(entry(request_id=f"{number}/{place}"))
            if not recorder.store():
                return False
        return True

    for recorder in recorders:
        recorder.start()
    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(write, range(THREADS)))
    for recorder in recorders:
        recorder.stop()
    assert chain.check(databases[0]).rows == 10 * THREADS
    assert len({row.request_id for row in stored(databases[0])}) == 10 * THREADS
    for database in databases:
        database.close()


def test_a_process_that_stops_has_stored_all(settings: Settings) -> None:
    with serving(settings) as client:
        become(client, "local")
        for number in range(20):
            upload(client, f"a,b\n{number},1\n2,3\n")
        client.get("/v1/jobs", headers={"Authorization": "Bearer x"})
    database = Database(settings.resolved_database_url)
    assert [row.status for row in stored(database)] == [*[201] * 20, 401]
    database.close()


def test_entries_wait_while_the_database_is_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MOST_WAITING", 3)
    recorder = Audit(database, days=0)

    def away(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("it is away"))

    with monkeypatch.context() as patch:
        patch.setattr(chain, "append", away)
        for number in range(5):
            recorder.note(entry(request_id=str(number)))
        assert not recorder.store()
    assert recorder.store()
    assert [row.request_id for row in stored(database)] == ["0", "1", "2"]


def test_verify_on_the_command_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDHOUSE_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("FOLDHOUSE_DATA_DIR", str(settings.data_dir))
    database = Database(settings.resolved_database_url)
    verify = ("audit", "verify")
    assert "no rows" in CliRunner().invoke(cli, verify).output
    append(database, entry(), entry())
    holds = CliRunner().invoke(cli, verify)
    assert holds.exit_code == 0
    assert "2 rows" in holds.output
    assert f"2 {stored(database)[-1].sha256}" in holds.output
    with database.writing() as session:
        session.execute(update(AuditRow).where(AuditRow.id == 1).values(status=200))
    broken = CliRunner().invoke(cli, verify)
    assert broken.exit_code == 1
    assert "Row 1 is not what was written" in broken.output
    database.close()


@pytest.mark.acceptance
def test_two_processes_lose_nothing_when_they_are_stopped(
    tmp_path: Path, database_url: str
) -> None:
    settings = Settings(data_dir=tmp_path / "data", database_url=database_url)
    arguments = ("api", "--workers", "2")
    log = tmp_path / "log"
    hook = {"url": "https://hooks.example/"}
    with started(log, *arguments, env=environment(settings)) as (process, url):

        def create(_: int) -> int:  # each on a connection of its own, to either process
            return httpx.post(f"{url}/v1/webhooks", json=hook).status_code

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(create, range(60)))
        process.terminate()
        assert process.wait(timeout=60) in (0, -15)
    assert answers.count(201) > 0
    database = Database(database_url)
    assert chain.check(database).rows == len(answers)
    with database.reading() as session:
        assert Counter(session.scalars(select(AuditRow.status))) == Counter(answers)
    database.close()
