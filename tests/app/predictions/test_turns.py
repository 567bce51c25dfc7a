"""Rows go past the tables, and nothing is priced for a client that has gone."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import resources_of, serving, train
from polling import wait_until
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.predictions import service
from app.predictions.rows import SMALL_ROWS, CsvBody, JsonRows
from app.registry.names import ModelNames
from app.settings import Settings
from app.storage.tables import LOCAL_TENANT
from models.serving.predictor import PLAIN, Predictor

ROW = {"Area": 100, "Quality": 3, "Zone": "south"}
CSV = {"Content-Type": "text/csv"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def lasting_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine needed more than a second."""
    monkeypatch.setattr("app.registry.names.FRESH", 60.0)


@pytest.fixture
def client(settings: Settings, tmp_path: Path) -> Iterator[TestClient]:
    """The application with a champion, which is loaded."""
    with serving(settings) as client:
        train(client, tmp_path / "model")
        assert client.post("/v1/predict", json={"rows": [ROW]}).status_code == 200
        yield client


def document(rows: int) -> dict[str, Any]:
    return {"rows": [ROW] * rows}


def scoring(rows: int) -> dict[str, Any]:
    return {"inputs": {name: [cell] * rows for name, cell in ROW.items()}}


def tensors(rows: int) -> dict[str, Any]:
    datatypes = {"Area": "FP64", "Quality": "INT64", "Zone": "BYTES"}
    return {
        "inputs": [
            {"name": name, "shape": [rows], "datatype": datatypes[name], "data": [cell] * rows}
            for name, cell in ROW.items()
        ]
    }


ENDPOINTS: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "rows": ("/v1/predict", document),
    "MLflow": ("/invocations", scoring),
    "Open Inference": ("/v2/models/champion/infer", tensors),
}


@pytest.mark.usefixtures("lasting_names")  # before the client's
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_row_is_priced_without_another_thread(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """Of a model that is loaded; many rows leave the event loop to others."""
    path, body = ENDPOINTS[endpoint]
    client.post(path, json=body(1))
    limiters: list[object] = []

    async def in_thread(work: Callable[[], Any], *, limiter: object) -> Any:
        limiters.append(limiter)
        return work()

    monkeypatch.setattr("app.predictions.turns.run_sync", in_thread)
    assert client.post(path, json=body(SMALL_ROWS)).status_code == 200
    assert limiters == []
    assert client.post(path, json=body(SMALL_ROWS + 1)).status_code == 200
    assert limiters == [resources_of(client).bulk]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.timeout(30)
def test_a_row_does_not_queue_behind_long_tables(client: TestClient, endpoint: str) -> None:
    """Nor does one whose model has to be looked up again."""
    path, body = ENDPOINTS[endpoint]
    bulk, portal = resources_of(client).bulk, client.portal
    assert portal is not None
    holders = [object() for _ in range(int(bulk.total_tokens))]
    for holder in holders:
        portal.call(bulk.acquire_on_behalf_of, holder)
    resources_of(client)[ModelNames].forget()
    assert client.post(path, json=body(1)).status_code == 200
    for holder in holders:
        portal.call(bulk.release_on_behalf_of, holder)


class Leaving:
    """A client that sends a whole body, and goes when `leave` is called from any thread."""

    def __init__(self, client: TestClient, path: str, body: bytes, headers: dict[str, str]) -> None:
        self._client, self._path, self._body, self._headers = client, path, body, headers
        self._gone: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.answered: list[Message] = []

    def leave(self) -> None:
        assert self._loop is not None
        assert self._gone is not None
        self._loop.call_soon_threadsafe(self._gone.set)

    def ask(self) -> None:
        assert self._client.portal is not None
        self._client.portal.call(self._ask)

    async def _ask(self) -> None:
        self._loop, self._gone = asyncio.get_running_loop(), asyncio.Event()
        parts = [self._body]
        gone = self._gone

        async def receive() -> Message:
            if parts:
                return {"type": "http.request", "body": parts.pop(), "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self.answered.append(message)

        headers = {"host": "localhost", "content-length": str(len(self._body)), **self._headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": self._path,
            "raw_path": self._path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": [(name.lower().encode(), text.encode()) for name, text in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        await self._client.app(scope, receive, send)


BLOCKS = 40
MANY = 1_000  # rows


def table(rows: int) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([list(ROW), *([list(ROW.values())] * rows)])
    return text.getvalue().encode()


LEAVING = {
    endpoint: (path, json.dumps(body(MANY)).encode(), JSON)
    for endpoint, (path, body) in ENDPOINTS.items()
}


@pytest.mark.parametrize("how", LEAVING)
def test_a_request_ends_when_its_client_goes(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It goes while the first of many blocks is priced; few more are, and none is answered."""
    monkeypatch.setattr("app.predictions.rows.BLOCK_ROWS", MANY // BLOCKS)
    priced: list[int] = []
    leaving = Leaving(client, *LEAVING[how])
    price = service._predict

    def noting(predictor: Predictor, rows: JsonRows, *others: Any) -> service.Block:
        priced.append(len(rows))
        if len(priced) == 1:
            leaving.leave()
        wait_for_the_loop(client)
        return price(predictor, rows, *others)

    monkeypatch.setattr(service, "_predict", noting)
    leaving.ask()

    assert 1 <= len(priced) <= service.AHEAD + 4
    assert leaving.answered == []


def wait_for_the_loop(client: TestClient) -> None:
    """Until all that it has been told before has happened."""
    assert client.portal is not None

    async def nothing() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    client.portal.start_task_soon(nothing).result()


@pytest.mark.timeout(30)
def test_a_request_that_waits_for_its_turn_ends_when_its_client_goes(client: TestClient) -> None:
    bulk, portal = resources_of(client).bulk, client.portal
    assert portal is not None
    holders = [object() for _ in range(int(bulk.total_tokens))]
    for holder in holders:
        portal.call(bulk.acquire_on_behalf_of, holder)
    leaving = Leaving(client, "/v1/predict", table(MANY), CSV)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(leaving.ask)
        wait_until(lambda: bulk.statistics().tasks_waiting)
        leaving.leave()
        asking.result()
    assert leaving.answered == []
    for holder in holders:
        portal.call(bulk.release_on_behalf_of, holder)


def test_a_table_is_not_predicted_to_its_end_for_a_client_that_has_gone(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few blocks that are already under way are all that it still gets."""
    monkeypatch.setattr("app.predictions.rows.BLOCK_ROWS", MANY // BLOCKS)
    resources, gone = resources_of(client), Event()
    loaded = service.load(resources, LOCAL_TENANT, "champion")
    file = io.BytesIO(table(MANY))
    file.seek(0, io.SEEK_END)
    body = CsvBody(file, separator=None)
    blocks = service.predict(resources, LOCAL_TENANT, loaded, body, PLAIN, gone).blocks
    next(blocks)
    gone.set()
    with pytest.raises(ClientDisconnect):
        list(blocks)
