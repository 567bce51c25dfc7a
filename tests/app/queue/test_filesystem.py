"""The embedded broker delivers each message once and survives whatever lies in its folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hostile_messages import hostile_messages
from kombu.simple import SimpleQueue

from app.queue.config import QUEUE, RUN_SHARD, sender_celery
from app.queue.messages import HINT_BYTES, QUARANTINED
from app.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "broker"


@contextmanager
def opened(folder: Path) -> Iterator[SimpleQueue]:
    celery = sender_celery(Settings(data_dir=folder.parent))
    with celery.connection_for_write() as connection:
        yield connection.SimpleQueue(celery.amqp.queues[QUEUE])


@pytest.fixture
def queue(folder: Path) -> Iterator[SimpleQueue]:
    with opened(folder) as queue:
        yield queue


def put(queue: SimpleQueue, shard: object) -> None:
    """A hint as Celery sends it."""
    queue.put([[f"shd_{shard}"], {}, {}], headers={"task": RUN_SHARD, "id": "1"})


def receive(queue: SimpleQueue) -> str:
    message = queue.get(block=False)
    message.ack()
    (shard,), _, _ = message.payload
    return str(shard).removeprefix("shd_")


def test_messages_come_in_order_and_once(queue: SimpleQueue, folder: Path) -> None:
    for number in range(3):
        put(queue, number)
    assert len(list(folder.glob("*.msg"))) == queue.qsize() == 3
    assert [receive(queue) for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(queue.Empty):
        receive(queue)
    assert list(folder.glob("*.msg")) == []


def test_a_message_appears_whole(queue: SimpleQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is on the disk it has a name that no reader looks at."""
    seen = []

    def look(_descriptor: int) -> None:
        seen.append(queue.qsize())

    monkeypatch.setattr("app.queue.filesystem.os.fsync", look)
    put(queue, "hint")
    assert seen == [0]
    assert queue.qsize() == 1


def test_a_message_that_cannot_be_written_leaves_nothing(
    queue: SimpleQueue, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.queue.filesystem.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        put(queue, "hint")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"body": "W1sic2hk',
        b"\xff\xfe\x00",
        b"[1, 2]",
        b'{"hello": "world"}',
        b'{"body": "e30=", "content-type": "application/json", "content-encoding": "utf-8",'
        b' "properties": {"delivery_tag": "1", "body_encoding": "base64"}, "headers": null}',
        b'{"body": "gASVBQ==", "content-type": "application/x-python-serialize",'
        b' "content-encoding": "binary", "headers": {"task": "t", "id": "1"},'
        b' "properties": {"delivery_tag": "1", "body_encoding": "base64"}}',
        b'{"body": 5, "properties": {"delivery_tag": "1", "body_encoding": "base64"}}',
    ],
)
def test_what_is_no_message_is_put_in_quarantine(
    content: bytes, queue: SimpleQueue, folder: Path
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"0_foreign.{QUEUE}.msg").write_bytes(content)
    put(queue, "hint")
    assert receive(queue) == "hint"
    quarantined = folder / "quarantine" / f"0_foreign.{QUEUE}.msg"
    assert quarantined.read_bytes() == content
    assert list(folder.glob("*.msg")) == []


def test_what_cannot_be_read_is_passed_over(queue: SimpleQueue, folder: Path) -> None:
    (folder / f"0_folder.{QUEUE}.msg").mkdir(parents=True)
    put(queue, "hint")
    assert receive(queue) == "hint"


def test_what_is_no_file_is_passed_over(queue: SimpleQueue, folder: Path, tmp_path: Path) -> None:
    """A FIFO would keep its reader waiting for ever, and a link may lead to a secret."""
    folder.mkdir(parents=True, exist_ok=True)
    os.mkfifo(folder / f"0_fifo.{QUEUE}.msg")
    secret = tmp_path / "secret"
    secret.write_text("{}")
    (folder / f"0_link.{QUEUE}.msg").symlink_to(secret)
    put(queue, "hint")
    assert receive(queue) == "hint"
    assert not (folder / "quarantine").exists()


def test_the_quarantine_is_bounded(queue: SimpleQueue, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(QUARANTINED + 20):
        with (folder / f"0_{number}.{QUEUE}.msg").open("wb") as file:
            file.truncate(1024**3 if number % 2 else 10)  # a sparse one, of a gibibyte
    put(queue, "hint")
    assert receive(queue) == "hint"
    kept = [path.stat().st_size for path in (folder / "quarantine").iterdir()]
    assert (len(kept), max(kept)) == (QUARANTINED, HINT_BYTES)


def test_hints_come_through_among_messages_that_lie(queue: SimpleQueue, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(hostile_messages(300, "shd_lie")):
        (folder / f"0_{number}.{QUEUE}.msg").write_bytes(content)
    put(queue, "hint")
    received = [receive(queue)]
    while received[-1] != "hint":
        received.append(receive(queue))
    assert set(received) == {"lie", "hint"}
    assert list(folder.glob("*.msg")) == []


def test_the_folder_may_be_wiped(queue: SimpleQueue, folder: Path) -> None:
    put(queue, "lost")
    shutil.rmtree(folder)
    assert queue.qsize() == 0
    with pytest.raises(queue.Empty):
        receive(queue)
    put(queue, "hint")
    assert receive(queue) == "hint"


def test_readers_at_once_get_each_message_once(queue: SimpleQueue, folder: Path) -> None:
    sent = {str(number) for number in range(60)}
    for number in sent:
        put(queue, number)

    def drain(_: int) -> list[str]:
        received = []
        with opened(folder) as mine:
            while mine.qsize():
                try:
                    received.append(receive(mine))
                except mine.Empty:
                    break
        return received

    with ThreadPoolExecutor(4) as pool:
        received = [number for part in pool.map(drain, range(4)) for number in part]
    assert len(received) == len(sent)
    assert set(received) == sent


def test_a_message_is_plain_json(queue: SimpleQueue, folder: Path) -> None:
    put(queue, "1")
    (path,) = folder.glob("*.msg")
    assert json.loads(path.read_text())["content-type"] == "application/json"
