"""The worker process itself: starts, shows itself, stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from polling import wait_until
from sqlalchemy import select

from app.queue.config import QUEUE, sender_celery
from app.settings import Settings
from app.storage.database import Database
from app.storage.tables import Worker

STOP_SECONDS = 3.0

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str) -> Settings:
    return Settings(data_dir=tmp_path, database_url=sqlite_url, device="cpu")


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    """Starts workers; whatever is left of them is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**options: Any) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "FOLDHOUSE_DATA_DIR": str(settings.data_dir),
            "FOLDHOUSE_DATABASE_URL": settings.database_url,
            "FOLDHOUSE_DEVICE": "cpu",
        }
        with (tmp_path / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "workers.main"],
                env=environment,
                stdin=options.get("stdin", subprocess.DEVNULL),
                stdout=log,
                stderr=log,
            )
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()
        worker.wait()
        if worker.stdin is not None:
            worker.stdin.close()


def seen_workers(settings: Settings) -> list[Worker]:
    database = Database(settings.resolved_database_url)
    with database.reading() as session:
        workers = list(session.scalars(select(Worker)))
    database.close()
    return workers


def children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(child) for child in listed.stdout.split() if is_alive(int(child))]


def is_alive(pid: int) -> bool:
    try:
        return "workers.attempt" in Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return False


def wait_until_ready(settings: Settings, tmp_path: Path, worker: subprocess.Popen[bytes]) -> int:
    """Until it has registered and takes messages; gives the process id of its spare."""
    wait_until(lambda: seen_workers(settings), 20)
    wait_until(lambda: "Connected to" in (tmp_path / "worker.log").read_text(), 20)
    (spare,) = wait_until(lambda: children(worker.pid), 20)
    return spare


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, "end of the pipe"])
def test_a_worker_from_start_to_stop(
    how: signal.Signals | str, start: Start, settings: Settings, tmp_path: Path
) -> None:
    worker = start(stdin=subprocess.PIPE)
    spare = wait_until_ready(settings, tmp_path, worker)
    (row,) = seen_workers(settings)
    assert (row.pid, row.slots, row.device) == (worker.pid, 1, "cpu")
    assert "libtorch" not in Path(f"/proc/{worker.pid}/maps").read_text()

    began = time.monotonic()
    if isinstance(how, signal.Signals):
        worker.send_signal(how)
    else:
        assert worker.stdin is not None
        worker.stdin.close()
    assert worker.wait(timeout=20) == 0
    assert time.monotonic() - began < STOP_SECONDS
    assert seen_workers(settings) == []
    assert not is_alive(spare)


def test_a_killed_worker_takes_its_child_along(
    start: Start, settings: Settings, tmp_path: Path
) -> None:
    worker = start()
    spare = wait_until_ready(settings, tmp_path, worker)
    worker.kill()
    worker.wait()
    wait_until(lambda: not is_alive(spare), 20)


def test_a_worker_survives_foreign_messages(
    start: Start, settings: Settings, tmp_path: Path
) -> None:
    celery = sender_celery(settings)
    celery.send_task("no.such.task", args=[1])
    celery.send_task("workers.tasks.run_shard", args=["shd_1", "too", "many"])
    celery.send_task("workers.tasks.run_shard", args=[{"no": "id"}])
    celery.send_task("workers.tasks.run_shard", args=["shd_unknown"])
    broker = tmp_path / "broker"
    (broker / f"0_foreign.{QUEUE}.msg").write_text('{"properties": {}}')
    worker = start()
    wait_until(lambda: not list(broker.glob("*.msg")), 20)
    wait_until_ready(settings, tmp_path, worker)
    assert worker.poll() is None
    celery.send_task("workers.tasks.run_shard", args=["shd_unknown"])
    wait_until(lambda: not list(broker.glob("*.msg")))
    worker.terminate()
    assert worker.wait(timeout=20) == 0
