"""A job is not lost, whatever dies: the measures of the design, on both stacks."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from polling import wait_until
from worker_process import START_SECONDS, WorkerProcess

from app.settings import Settings

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

JOB_SECONDS = 120.0  # for two cores that other tests share
STOP_SECONDS = 8.0
START_OF_JOB_SECONDS = 2.0

SHORT: dict[str, Any] = {"architecture": {"type": "linear"}, "k_folds": 2, "max_epochs": 3}
# Outlasts several checkpoints, which come every two seconds.
LONG: dict[str, Any] = {
    "architecture": {"type": "mlp", "hidden_sizes": [32]},
    "k_folds": 2,
    "batch_size": 16,
    "max_epochs": 3000,
    "early_stopping": None,
}


def submit(api: TestClient, spec: dict[str, Any]) -> str:
    answer = api.post("/v1/jobs", json={"dataset_id": "latest", "target": "price", **spec})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def job(api: TestClient, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/v1/jobs/{job_id}").json()
    return found


def epoch(api: TestClient, job_id: str) -> int:
    progress = job(api, job_id)["progress"]
    return int(progress["epoch"]) if progress else 0


def wait_for(api: TestClient, job_id: str, *statuses: str) -> dict[str, Any]:
    wait_until(lambda: job(api, job_id)["status"] in statuses, JOB_SECONDS)
    return job(api, job_id)


def has_checkpoint(settings: Settings) -> bool:
    """A whole one: its name does not begin with a dot."""
    return any((settings.root / "storage").glob("checkpoints/*/[!.]*"))


def test_worker_and_child_are_killed(api: TestClient, settings: Settings) -> None:
    """The next worker goes on from the checkpoint; nothing is there twice, and nothing missing."""
    job_id = submit(api, LONG)
    with WorkerProcess(settings):
        wait_until(lambda: has_checkpoint(settings), JOB_SECONDS)
        reached = epoch(api, job_id)
        assert job(api, job_id)["status"] == "running"
    with WorkerProcess(settings):
        wait_until(lambda: job(api, job_id)["attempt"] == 2, START_SECONDS)
        seen: list[int] = []
        wait_until(
            lambda: seen.append(epoch(api, job_id)) or job(api, job_id)["status"] != "running",
            2 * JOB_SECONDS,
        )
        # From the start it would be seconds before it came as far again.
        assert min(number for number in seen if number > 0) > reached / 2
        resumed = job(api, job_id)
        assert (resumed["status"], resumed["attempt"]) == ("succeeded", 2), resumed["error"]
        assert len(api.get("/v1/models").json()["data"]) == 1
        curve = api.get(f"/v1/jobs/{job_id}/metrics").json()["data"]
        steps = [(point["fold"], point["epoch"]) for point in curve]
        assert sorted(steps) == [
            (fold, number) for fold in (0, 1) for number in range(1, LONG["max_epochs"] + 1)
        ]
        wait_until(lambda: not has_checkpoint(settings))


def test_a_child_is_killed_then_the_worker_stopped(api: TestClient, settings: Settings) -> None:
    """The first costs an attempt; the second saves a checkpoint, and its attempt does not count."""
    job_id = submit(api, LONG)
    with WorkerProcess(settings) as worker:
        wait_until(lambda: epoch(api, job_id) > 0, JOB_SECONDS)
        child = worker.child_of(job_id)
        assert child is not None
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: job(api, job_id)["status"] == "queued")
        wait_until(lambda: worker.child_of(job_id), START_SECONDS)
        worker.process.terminate()
        assert worker.process.wait(timeout=STOP_SECONDS) == 0
        assert has_checkpoint(settings)
    released = job(api, job_id)
    assert (released["status"], released["attempt"]) == ("queued", 1)
    with WorkerProcess(settings):
        wait_until(lambda: job(api, job_id)["attempt"] == 2, START_SECONDS)
        api.post(f"/v1/jobs/{job_id}/cancel")
        wait_for(api, job_id, "cancelled")
        wait_until(lambda: not has_checkpoint(settings))


def test_the_broker_is_wiped(api: TestClient, settings: Settings) -> None:
    job_id = submit(api, SHORT)
    if settings.broker_url:
        with redis.Redis.from_url(settings.broker_url) as server:
            assert server.flushall()
    else:
        shutil.rmtree(settings.root / "broker")
    with WorkerProcess(settings):
        done = wait_for(api, job_id, "succeeded", "failed")
        assert (done["status"], done["attempt"]) == ("succeeded", 1), done["error"]


def test_an_idle_worker_begins_at_once(api: TestClient, settings: Settings) -> None:
    with WorkerProcess(settings) as worker:
        worker.wait_until_ready()
        began = time.monotonic()
        job_id = submit(api, SHORT)
        wait_for(api, job_id, "running", "succeeded")
        assert time.monotonic() - began <= START_OF_JOB_SECONDS
