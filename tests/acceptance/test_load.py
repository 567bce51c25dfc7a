"""Many clients at once while jobs run, and a backup in the middle of it."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from stack import SHORT, Stack, running
from worker_process import FOLDHOUSE, environment

from app.settings import Settings

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(600)]

CLIENTS = 50
SECONDS = 12.0
THINK_SECONDS = 4.0  # between two requests of one client


def client(stack: Stack, number: int, until: float) -> tuple[Counter[int], list[str]]:
    """Submit, list and poll; how often each status came, and ids of the jobs."""
    statuses: Counter[int] = Counter()
    jobs: list[str] = []
    body = {"dataset_id": "latest", "target": "price", **SHORT}
    with httpx.Client(base_url=stack.http.base_url, timeout=30) as http:
        time.sleep(THINK_SECONDS * number / CLIENTS)
        while time.monotonic() < until:
            answer = http.post("/v1/jobs", json=body)
            statuses[answer.status_code] += 1
            if answer.status_code == 202:
                jobs.append(answer.json()["id"])
            for address in ("/v1/jobs?limit=20", "/v1/jobs/latest", "/v1/datasets"):
                statuses[http.get(address).status_code] += 1
            time.sleep(THINK_SECONDS)
    return statuses, jobs


@pytest.mark.parametrize("settings", ["postgresql and redis"], indirect=True)
def test_fifty_clients_at_once(stack: Stack, tmp_path: Path) -> None:
    """Nobody is refused, no job is lost, and a backup taken meanwhile serves the same prices."""
    with stack.worker() as worker:
        first = stack.wait(stack.submit(SHORT), "succeeded", "failed")
        model_id = first["result"]["model_id"]
        price = stack.price(model_id)
        until = time.monotonic() + SECONDS
        with ThreadPoolExecutor(CLIENTS + 1) as pool:
            clients = [pool.submit(client, stack, number, until) for number in range(CLIENTS)]
            time.sleep(SECONDS / 2)
            backup = subprocess.run(
                [FOLDHOUSE, "backup", tmp_path / "backup"],
                env=environment(stack.settings),
                capture_output=True,
                text=True,
            )
            results = [running.result() for running in clients]
        statuses = sum((one[0] for one in results), Counter[int]())
        jobs = [job_id for one in results for job_id in one[1]]
        assert set(statuses) <= {200, 202}, statuses
        assert "database is locked" not in worker.log()
        assert "database is locked" not in (stack.settings.root / "api.log").read_text()
        accepted = {job["id"] for job in listed(stack)}
        assert accepted == {first["id"], *jobs}
    assert backup.returncode == 0, backup.stderr

    with running(Settings(data_dir=tmp_path / "backup", device="cpu")) as copy:
        assert copy.price(model_id) == price
        finished = [job for job in listed(copy) if job["status"] == "succeeded"]
        assert first["id"] in {job["id"] for job in finished}
        assert {job["result"]["model_id"] for job in finished} == {
            model["id"] for model in copy.http.get("/v1/models?limit=200").json()["data"]
        }
        for job in finished[:3]:
            assert copy.price(job["result"]["model_id"]) == price
        with copy.worker():  # what waited goes on there
            *_, oldest = (job["id"] for job in listed(copy) if job["status"] == "queued")
            done = copy.wait(oldest, "succeeded", "failed")
            assert done["status"] == "succeeded", done["error"]


def listed(stack: Stack) -> list[dict]:  # type: ignore[type-arg]
    """Every job, page after page."""
    page = stack.http.get("/v1/jobs", params={"limit": 200}).json()
    jobs = page["data"]
    while page["has_more"]:
        query = {"limit": 200, "after": page["next"]}
        page = stack.http.get("/v1/jobs", params=query).json()
        jobs += page["data"]
    return list(jobs)


@pytest.mark.costly("postgresql")
def test_a_backup_goes_back_into_either_stack(
    stack: Stack, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with stack.worker():
        done = stack.wait(stack.submit(SHORT), "succeeded", "failed")
    model_id = done["result"]["model_id"]
    price = stack.price(model_id)
    backup = [FOLDHOUSE, "backup", tmp_path / "backup"]
    subprocess.run(backup, env=environment(stack.settings), check=True, capture_output=True)
    again = subprocess.run(backup, env=environment(stack.settings), capture_output=True, text=True)
    assert again.returncode == 2
    assert "is not empty" in again.stderr

    other = Settings(
        data_dir=tmp_path / "other",
        database_url=request.getfixturevalue("postgres_url"),
        device="cpu",
    )
    restore = [FOLDHOUSE, "restore", tmp_path / "backup"]
    subprocess.run(restore, env=environment(other), check=True, capture_output=True)
    with running(other) as copy, copy.worker():
        assert copy.price(model_id) == price
        assert copy.job(done["id"])["result"] == done["result"]
        following = copy.wait(copy.submit(SHORT), "succeeded", "failed")
        assert following["status"] == "succeeded", following["error"]
