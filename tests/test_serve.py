"""A real service: its processes, its end, and the demo."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from polling import wait_until
from worker_process import alive, family

pytestmark = pytest.mark.acceptance

FOLDHOUSE = Path(sys.executable).parent / "foldhouse"
DEMO = Path(__file__).parent.parent / "examples" / "demo.py"
README = DEMO.parents[1] / "README.md"
READY_SECONDS = 30.0  # on an idle machine it takes under 3
STOP_SECONDS = 10.0


@contextmanager
def started(
    log: Path, *arguments: str | Path, **options: Any
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A `foldhouse` command on a free port and its address, once it says that it is ready."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [FOLDHOUSE, *arguments, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            **options,
        )
    assert process.stdout is not None
    try:
        ready = re.search(r"http://[\d.:]+", process.stdout.readline())
        assert ready, log.read_text()
        yield process, ready.group()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def serving(data_dir: Path) -> AbstractContextManager[tuple[subprocess.Popen[str], str]]:
    return started(data_dir.parent / "log", "serve", "--data-dir", data_dir)


def worker_of(service: int) -> int | None:
    """The worker that the service started, if it has one that runs."""
    for child in family(service):
        if alive(child) and b"-m\0workers\0" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    return None


def test_serve_keeps_a_worker_and_leaves_no_process_behind(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as (service, url):
        assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
        mapped = Path(f"/proc/{service.pid}/maps").read_text()
        assert "uvloop" in mapped
        assert "libtorch" not in mapped

        first = wait_until(lambda: worker_of(service.pid), READY_SECONDS)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: worker_of(service.pid) not in (None, first), READY_SECONDS)
        wait_until(lambda: httpx.get(f"{url}/readyz").json()["status"] == "ready", READY_SECONDS)

        processes = family(service.pid)
        service.send_signal(signal.SIGTERM)
        assert service.wait(STOP_SECONDS) == 0
        assert not any(map(alive, processes))


def test_a_killed_service_takes_its_worker_along(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as (service, _):
        wait_until(lambda: worker_of(service.pid), READY_SECONDS)
        processes = family(service.pid)
        service.kill()
        service.wait()
        wait_until(lambda: not any(map(alive, processes)), READY_SECONDS)


def test_the_demo_prices_three_houses(tmp_path: Path) -> None:
    demo = subprocess.run(
        [sys.executable, DEMO, tmp_path], capture_output=True, text=True, timeout=150
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert re.search(r"pooled: .*rmsle 0\.1[0-5]", demo.stdout)
    _, table = demo.stdout.split("Three houses that no fold has seen:\n")
    money = r"\$[\d,]+"
    line = rf"{money} +{money} – {money} +{money} +[+-]\d+\.\d%"
    assert len(re.findall(line, table)) == 3
    (covered,) = re.findall(r"([\d.]+)% sold for a price inside their interval", demo.stdout)
    assert 85 < float(covered) < 95
    assert shape(printed_in_the_readme()) <= shape(demo.stdout)


def printed_in_the_readme() -> str:
    text = README.read_text().split("The demo ends like this:\n\n```\n")[1]
    return text.split("\n```", 1)[0]


def shape(printed: str) -> set[str]:
    """Its lines without numbers, which differ from machine to machine, and without blanks."""
    return {re.sub(r"[\d.,:+–-]+|\s|(?:mdl|job)_\w+", "", line) for line in printed.splitlines()}
