"""POST /v1/datasets: what arrives whole is kept once, and nothing else leaves a trace."""

from __future__ import annotations

import errno
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pyarrow.parquet as pq
import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from house_api import ROWS, houses_csv, resources_of, serving, upload
from polling import wait_until
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.datasets import service
from app.datasets.upload import receive, upload_folder, uploads_root
from app.errors import TooLarge, TooSlow
from app.http import bodies
from app.ids import new_id
from app.settings import Settings
from app.storage.blobs import Blobs
from models.tables.profile import Profile
from models.tables.spellings import Marks
from models.tables.table import Limits

CSV = {"Content-Type": "text/csv"}
FORM = {"Content-Type": "multipart/form-data; boundary=frontier"}


def stored_files(client: TestClient) -> list[Path]:
    root = resources_of(client).settings.root
    folders = [root / "storage" / "datasets", root / "tmp"]
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def form(*parts: tuple[str, str], end: str = "--frontier--\r\n") -> str:
    body = "".join(
        f"--frontier\r\nContent-Disposition: form-data; {head}\r\n\r\n{data}\r\n"
        for head, data in parts
    )
    return body + end


def test_a_raw_upload_is_profiled_and_kept_both_ways(client: TestClient) -> None:
    text = houses_csv()

    response = client.post("/v1/datasets?name=my houses.csv", content=text, headers=CSV)

    assert response.status_code == 201
    dataset = response.json()
    assert response.headers["Location"] == f"/v1/datasets/{dataset['id']}"
    assert dataset["name"] == "my houses.csv"
    assert dataset["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert (dataset["bytes"], dataset["rows"]) == (len(text), ROWS)
    kinds = {column["name"]: column["kind"] for column in dataset["columns"]}
    assert kinds["Id"] == "identifier"
    assert kinds["Zone"] == "binary"
    assert dataset["suggestions"]["target"] == "Price"
    names = {path.name: path for path in stored_files(client)}
    assert set(names) == {"table.csv", "table.parquet"}
    assert names["table.csv"].read_text() == text
    assert pq.read_table(names["table.parquet"]).num_rows == ROWS


@pytest.mark.parametrize("with_name", [True, False])
def test_a_form_upload_takes_the_file_and_a_name(client: TestClient, with_name: bool) -> None:
    response = client.post(
        "/v1/datasets",
        files={"file": ("C:\\houses\\train.csv", houses_csv())},
        data={"name": "named"} if with_name else {},
    )

    assert response.status_code == 201
    assert response.json()["name"] == ("named" if with_name else "train.csv")
    assert client.get("/v1/datasets/latest/content").text == houses_csv()


def test_the_same_bytes_again_are_the_same_dataset(client: TestClient) -> None:
    first = upload(client)

    again = client.post("/v1/datasets", files={"file": ("other.csv", houses_csv())})

    assert again.status_code == 200
    assert again.json() == first
    assert len(client.get("/v1/datasets").json()["data"]) == 1


def test_two_uploads_of_the_same_bytes_at_a_time(both_clients: TestClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        datasets = list(pool.map(lambda _: upload(both_clients), range(8)))

    assert len({dataset["id"] for dataset in datasets}) == 1
    assert len(both_clients.get("/v1/datasets").json()["data"]) == 1
    assert len(stored_files(both_clients)) == 2


def test_idempotency_key_of_another_upload(client: TestClient) -> None:
    key = {"Idempotency-Key": "k", **CSV}
    first = client.post("/v1/datasets", content=houses_csv(), headers=key)

    again = client.post("/v1/datasets", content=houses_csv(), headers=key)
    others = [
        client.post("/v1/datasets", content=houses_csv(rows=30), headers=key),
        client.post("/v1/datasets?name=other.csv", content=houses_csv(), headers=key),
    ]

    assert again.json() == first.json()
    for other in others:
        assert other.status_code == 422
        assert other.json()["type"].endswith("/idempotency-mismatch")
    assert len(client.get("/v1/datasets").json()["data"]) == 1

    client.delete(f"/v1/datasets/{first.json()['id']}")
    gone = client.post("/v1/datasets", content=houses_csv(), headers=key)
    assert gone.status_code == 404
    assert client.get("/v1/datasets").json()["data"] == []


def test_uploads_that_wait_keep_no_thread(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than there are threads for requests."""
    goes_on = threading.Event()
    begun: list[str] = []
    ingest = service.ingest

    def slow(csv: Path, parquet: Path, limits: Limits, marks: Marks) -> Profile:
        begun.append(csv.name)
        assert goes_on.wait(30)
        return ingest(csv, parquet, limits, marks)

    monkeypatch.setattr(service, "ingest", slow)
    with ThreadPoolExecutor(60) as pool:
        tables = [houses_csv(rows) for rows in range(20, 80)]
        uploads = [pool.submit(upload, client, table) for table in tables]
        try:
            wait_until(lambda: resources_of(client).parsing.statistics().tasks_waiting == 59)
            assert client.get("/v1/jobs").status_code == 200
            assert len(begun) == 1
        finally:
            goes_on.set()
        assert len({job.result()["id"] for job in uploads}) == 60


@pytest.mark.parametrize(
    ("content_type", "named"),
    [
        ("application/json", "application/json"),
        ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded"),
        (b"t\xe9xt/csv", "xt/csv"),
        (None, "got none"),
    ],
)
def test_other_media_types_are_refused(
    client: TestClient, content_type: str | bytes | None, named: str
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}

    response = client.post("/v1/datasets", content=houses_csv(), headers=headers)  # type: ignore[arg-type]

    assert response.status_code == 415
    assert named in response.json()["detail"]


BROKEN_FORMS = {
    "no boundary named": ("multipart/form-data", form(("name=file", "a")), "boundary"),
    "no form at all": (FORM["Content-Type"], "a,b\n1,2\n", "cannot be read"),
    "broken off": (FORM["Content-Type"], form(('name="file"', "a,b\n1,2"), end=""), "ends before"),
    "no file": (FORM["Content-Type"], form(('name="name"', "x")), "no file"),
    "two files": (
        FORM["Content-Type"],
        form(('name="file"; filename="a"', "a"), ('name="file"; filename="b"', "b")),
        "twice",
    ),
    "another field": (FORM["Content-Type"], form(('name="fil"', "a")), "'fil'"),
    "an endless name": (FORM["Content-Type"], form(('name="name"', "x" * 5000)), "longer than"),
    "an endless boundary": ("multipart/form-data; boundary=" + "x" * 300, "", "Boundary length"),
}


@pytest.mark.parametrize("case", BROKEN_FORMS)
def test_a_broken_form_is_refused_and_leaves_nothing(client: TestClient, case: str) -> None:
    content_type, body, reason = BROKEN_FORMS[case]

    response = client.post("/v1/datasets", content=body, headers={"Content-Type": content_type})

    assert response.status_code == 422
    assert reason in response.json()["detail"]
    assert stored_files(client) == []
    assert upload(client)["rows"] == ROWS


@pytest.fixture
def small_client(tmp_path: Path, sqlite_url: str) -> TestClient:
    limit = len(houses_csv())
    return serving(
        Settings(data_dir=tmp_path / "data", database_url=sqlite_url, max_upload_bytes=limit)
    )


@pytest.mark.parametrize("as_form", [True, False])
def test_a_table_at_the_limit_fits_and_one_byte_more_does_not(
    small_client: TestClient, as_form: bool
) -> None:
    def send(text: str) -> int:
        if as_form:
            response = small_client.post("/v1/datasets", files={"file": ("t.csv", text)})
        else:
            response = small_client.post("/v1/datasets", content=text, headers=CSV)
        if response.status_code == 413:
            assert "max_upload_bytes" in response.json()["detail"]
        return response.status_code

    with small_client:
        assert send(houses_csv()) == 201
        assert send(houses_csv() + "\n") == 413
        assert len(stored_files(small_client)) == 2


def arriving(
    *messages: Message, then: Message, length: int | None = None, pause: float = 0.0
) -> tuple[Request, list[Message]]:
    """A request, and what was taken of its body; `pause` seconds pass before each message."""
    taken: list[Message] = []

    async def receive_message() -> Message:
        await anyio.sleep(pause)
        taken.append(messages[len(taken)] if len(taken) < len(messages) else then)
        return taken[-1]

    headers = [(b"content-type", b"text/csv")]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    return Request({"type": "http", "headers": headers}, receive_message), taken


def part(data: bytes) -> Message:
    return {"type": "http.request", "body": data, "more_body": True}


def test_an_endless_body_is_cut_off_at_the_limit(tmp_path: Path) -> None:
    request, taken = arriving(then=part(b"1,2,3,4,5\n"))

    async def take() -> None:
        with upload_folder(tmp_path) as folder:
            await receive(request, folder, 50, None)

    with pytest.raises(TooLarge, match="max_upload_bytes, 50"):
        anyio.run(take)
    assert len(taken) == 6
    assert list(tmp_path.iterdir()) == []


def test_a_body_that_says_it_is_too_large_is_not_read(tmp_path: Path) -> None:
    request, taken = arriving(then=part(b"1,2\n"), length=10**9)

    async def take() -> None:
        await receive(request, tmp_path, 50, None)

    with pytest.raises(TooLarge):
        anyio.run(take)
    assert taken == []


def test_what_a_killed_process_left_is_removed_at_the_next_start(settings: Settings) -> None:
    """Its folder is not locked any more; its files are kept only where a row names them."""
    with serving(settings) as client:
        kept = upload(client)["id"]
    root, storage = uploads_root(settings), settings.root / "storage" / "datasets"
    left = new_id("ds")
    for name in (kept, left):
        (root / name).mkdir()
        (root / name / "table.csv").touch()
    (storage / left).mkdir()

    with upload_folder(root) as in_use, serving(settings) as client:
        assert list(root.iterdir()) == [in_use]
        assert [path.name for path in storage.iterdir()] == [kept]
        assert client.get(f"/v1/datasets/{kept}/content").text == houses_csv()


def test_a_client_that_dawdles_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither silence nor a byte now and then keeps an upload open."""
    monkeypatch.setattr(bodies, "PATIENCE", 0.2)
    request, taken = arriving(then=part(b"1"), pause=0.05)

    async def take() -> None:
        with upload_folder(tmp_path) as folder:
            await receive(request, folder, 10**6, None)

    with pytest.raises(TooSlow, match="fewer than 32768 in the last"):
        anyio.run(take)
    assert 1 <= len(taken) <= 5
    assert list(tmp_path.iterdir()) == []


def test_a_large_table_is_read_in_another_process(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also its faults come back from there."""
    monkeypatch.setattr(service, "READ_HERE_BYTES", 0)
    assert upload(client)["rows"] == ROWS
    ragged = client.post("/v1/datasets", content="a,b\n1,2,3\n", headers=CSV)
    assert ragged.status_code == 422
    assert ragged.json()["errors"][0]["row"] == 1


def test_a_client_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    request, taken = arriving(part(b"a,b\n"), part(b"1,2\n"), then={"type": "http.disconnect"})

    async def take() -> None:
        with upload_folder(tmp_path) as folder:
            await receive(request, folder, 50, None)

    with pytest.raises(ClientDisconnect):
        anyio.run(take)
    assert len(taken) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Blobs.put

    def full(self: Blobs, key: str, source: Path) -> None:
        if key.endswith(".parquet"):
            raise OSError(errno.ENOSPC, "No space left on device")
        put(self, key, source)

    monkeypatch.setattr(Blobs, "put", full)
    response = client.post("/v1/datasets", content=houses_csv(), headers=CSV)
    monkeypatch.undo()

    assert response.status_code == 507
    assert response.json()["type"].endswith("/out-of-space")
    assert stored_files(client) == []
    assert upload(client)["rows"] == ROWS


@pytest.mark.parametrize(("setting", "named"), [("max_rows", "rows"), ("max_columns", "columns")])
def test_limits_of_the_table(tmp_path: Path, sqlite_url: str, setting: str, named: str) -> None:
    limits = {setting: 4}
    settings = Settings(data_dir=tmp_path / "data", database_url=sqlite_url, **limits)  # type: ignore[arg-type]
    with serving(settings) as client:
        response = client.post("/v1/datasets", content=houses_csv(), headers=CSV)

        assert response.status_code == 422
        assert f"more than 4 {named}" in response.json()["detail"]
        assert stored_files(client) == []
