"""A worker's connection to Redis survives whatever other programs put under our names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hostile_messages import encoded, hint, hostile_messages
from kombu.simple import SimpleQueue

from app.queue.config import QUEUE, worker_celery
from app.queue.messages import HINT_BYTES, QUARANTINED
from app.settings import Settings

WAIT = 2.0  # seconds


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as server:
        yield server


@pytest.fixture
def queue(redis_url: str, tmp_path: Path) -> Iterator[SimpleQueue]:
    celery = worker_celery(Settings(data_dir=tmp_path, broker_url=redis_url))
    with celery.connection_for_read() as connection:
        yield connection.SimpleQueue(celery.amqp.queues[QUEUE])
    celery.close()


def receive(queue: SimpleQueue) -> str:
    message = queue.get(timeout=WAIT)
    message.ack()
    (shard,), _, _ = message.payload
    return str(shard)


def test_hints_come_through_among_messages_that_lie(
    queue: SimpleQueue, server: redis.Redis
) -> None:
    for content in hostile_messages(300, "shd_1"):
        server.lpush(QUEUE, content)
    server.lpush(QUEUE, encoded(hint("shd_2")))
    received = [receive(queue)]
    while received[-1] != "shd_2":
        received.append(receive(queue))
    assert set(received) == {"shd_1", "shd_2"}
    assert server.llen(f"{QUEUE}.quarantine") == min(QUARANTINED, 301 - len(received))
    assert server.keys() == [f"{QUEUE}.quarantine".encode()]


def test_the_quarantine_is_bounded(queue: SimpleQueue, server: redis.Redis) -> None:
    server.lpush(QUEUE, *[b"x" * (2 * HINT_BYTES)] * (QUARANTINED + 1), encoded(hint("shd_1")))
    assert receive(queue) == "shd_1"
    kept = server.lrange(f"{QUEUE}.quarantine", 0, -1)
    assert [len(content) for content in kept] == [HINT_BYTES] * QUARANTINED


def test_a_key_of_another_type_is_renamed(queue: SimpleQueue, server: redis.Redis) -> None:
    """Also one that comes while the worker waits."""
    for number, command in enumerate((server.sadd, server.set)):
        command(QUEUE, "a value")
        with pytest.raises(queue.Empty):
            queue.get(timeout=0.5)
        assert not server.exists(QUEUE)
        assert server.exists(f"{QUEUE}.foreign")
        server.lpush(QUEUE, encoded(hint(f"shd_{number}")))
        assert receive(queue) == f"shd_{number}"


def test_a_key_of_another_type_before_the_start(
    server: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    server.set(QUEUE, "a value")
    celery = worker_celery(Settings(data_dir=tmp_path, broker_url=redis_url))
    with celery.connection_for_read() as connection:
        queue = connection.SimpleQueue(celery.amqp.queues[QUEUE])
        server.lpush(QUEUE, encoded(hint("shd_1")))
        assert receive(queue) == "shd_1"
    celery.close()


def test_a_quarantine_that_is_no_list(
    queue: SimpleQueue, server: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    server.set(f"{QUEUE}.quarantine", "a value")
    server.lpush(QUEUE, b"no hint", encoded(hint("shd_1")))
    assert receive(queue) == "shd_1"
    assert "the message is lost: Redis has refused it (ResponseError)" in caplog.text
