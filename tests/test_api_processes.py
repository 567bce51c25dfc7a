"""`foldhouse api --workers 2`: processes that share one address."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from polling import wait_until
from test_serve import alive, started
from worker_process import environment, family

from app.settings import Settings
from app.storage.migrate import upgrade

pytestmark = pytest.mark.acceptance

SECONDS = 40.0  # for two cores that other tests share

Api = tuple["subprocess.Popen[str]", str]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """Its parent process, and its address."""
    settings = Settings(data_dir=tmp_path)
    upgrade(settings.resolved_database_url)
    arguments = ("api", "--workers", "2")
    with started(tmp_path / "log", *arguments, env=environment(settings)) as (process, url):
        yield process, url
        left = family(process.pid)
    wait_until(lambda: not any(map(alive, left)), SECONDS)


def answering(parent: int) -> set[int]:
    """The processes that answer requests."""
    return {pid for pid in family(parent) if pid != parent and alive(pid)}


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_one_that_dies_is_replaced_and_the_others_go_on(api: Api) -> None:
    process, url = api
    before = answering(process.pid)
    assert len(before) == 2
    victim = before.pop()
    subprocess.run(["kill", "-9", str(victim)], check=True)

    assert answers(url)
    wait_until(lambda: len(answering(process.pid) - {victim}) == 2, SECONDS)
    assert answers(url)


def test_a_signal_ends_them_all(api: Api, tmp_path: Path) -> None:
    process, _ = api
    before = answering(process.pid)
    process.send_signal(signal.SIGTERM)

    assert process.wait(SECONDS) == 0
    assert not any(map(alive, before))
    assert [*tmp_path.glob("tmp/*")] == []


def test_they_do_not_outlive_a_parent_that_was_killed(api: Api) -> None:
    process, url = api
    before = answering(process.pid)
    process.kill()
    process.wait()

    wait_until(lambda: not any(map(alive, before)), SECONDS)
    assert not answers(url)
