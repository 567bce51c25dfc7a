"""Hints cost the sender little, whatever the broker does."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from polling import free_port

from app.queue.config import QUEUE, RUN_SHARD, SENDER_TIMEOUT
from app.queue.dispatch import Hints
from app.settings import Settings

SLACK = 1.0  # seconds


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_hint_through_files(tmp_path: Path) -> None:
    hints = Hints(Settings(data_dir=tmp_path))
    hints.check()
    hints.send("shd_1")
    (path,) = (tmp_path / "broker").glob("*.msg")
    assert json.loads(path.read_text())["headers"]["task"] == RUN_SHARD
    hints.close()


def test_a_hint_through_redis(redis_url: str, tmp_path: Path) -> None:
    """A wiped Redis takes the next hint: there is nothing in it that had to be declared."""
    hints = Hints(Settings(data_dir=tmp_path, broker_url=redis_url))
    hints.check()
    with redis.Redis.from_url(redis_url) as server:
        hints.send("shd_1")
        assert server.llen(QUEUE) == 1
        server.flushall()
        hints.send("shd_1")
        assert server.llen(QUEUE) == 1
    hints.close()


@pytest.mark.parametrize("broker", ["refuses", "is silent"])
def test_a_broker_that_is_away(
    broker: str, silent_port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = silent_port if broker == "is silent" else free_port()
    hints = Hints(Settings(data_dir=tmp_path, broker_url=f"redis://127.0.0.1:{port}/0"))
    began = time.monotonic()
    hints.send("shd_1")
    assert time.monotonic() - began < SENDER_TIMEOUT + SLACK
    assert "no hint for shard shd_1" in caplog.text

    began = time.monotonic()
    with pytest.raises(Exception, match=r"refused|Timeout"):
        hints.check()
    assert time.monotonic() - began < SENDER_TIMEOUT + SLACK
    hints.close()
