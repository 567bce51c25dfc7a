"""The worker process itself: starts, shows itself, stops."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from polling import wait_until
from worker_process import WorkerProcess, command_line

from app.settings import Settings

pytestmark = pytest.mark.acceptance


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str) -> Settings:
    return Settings(data_dir=tmp_path, database_url=sqlite_url, device="cpu")


@pytest.mark.parametrize("how", [signal.SIGTERM, "end of the pipe"])
def test_a_worker_from_start_to_stop(how: signal.Signals | str, settings: Settings) -> None:
    with WorkerProcess(settings) as worker:
        worker.wait_until_ready()
        (row,) = worker.rows()
        assert (row.slots, row.device) == (1, "cpu")
        assert "libtorch" not in Path(f"/proc/{worker.process.pid}/maps").read_text()
        descendants = worker.children()

        if isinstance(how, signal.Signals):
            worker.process.send_signal(how)
        else:
            worker.close_input()
        assert worker.process.wait(timeout=20) == 0
        assert worker.rows() == []
        wait_until(lambda: not any(map(command_line, descendants)))


def test_a_killed_worker_takes_its_descendants_along(settings: Settings) -> None:
    with WorkerProcess(settings) as worker:
        worker.wait_until_ready()
        descendants = worker.children()
        worker.process.kill()
        wait_until(lambda: not any(map(command_line, descendants)))
