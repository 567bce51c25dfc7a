"""A job is not lost, whatever is killed, stopped or frozen."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import Any

import pytest
from polling import wait_until
from sqlalchemy import update
from stack import ENDLESS, JOB_SECONDS, LONG, SHORT, Stack
from worker_process import START_SECONDS, WorkerProcess

from app.jobs.attempts import LEASE
from app.storage.database import database_now
from app.storage.tables import Shard

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(500)]

RESTART_SECONDS = 10.0  # from a worker's start to the next attempt, on the same machine
STOP_SECONDS = 45.0


def curve(stack: Stack, job_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = stack.http.get(f"/v1/jobs/{job_id}/metrics").json()["data"]
    return rows


def out_of_fold(stack: Stack, job_id: str) -> Any:
    return stack.http.get(f"/v1/jobs/{job_id}/oof").json()["data"]


@pytest.mark.costly("sqlite")
@pytest.mark.slow
def test_a_killed_worker_is_followed_by_one_that_goes_on(stack: Stack) -> None:
    """From the checkpoint, on the same machine within seconds; the model is that of a run that
    nobody disturbed, and no epoch is there twice or missing."""
    with stack.worker():
        undisturbed = stack.wait(stack.submit(LONG), "succeeded", "failed")
        assert undisturbed["status"] == "succeeded", undisturbed["error"]
        wait_until(lambda: not stack.checkpoints())
        job_id = stack.submit(LONG)
        wait_until(stack.checkpoints, JOB_SECONDS)
        reached = stack.epoch(job_id)
    with stack.worker():
        began = time.monotonic()
        wait_until(lambda: stack.job(job_id)["attempt"] == 2, RESTART_SECONDS)
        assert time.monotonic() - began < RESTART_SECONDS
        seen: list[int] = []
        wait_until(
            lambda: seen.append(stack.epoch(job_id)) or stack.job(job_id)["status"] != "running",
            2 * JOB_SECONDS,
        )
        # From the start it would be seconds before it came as far again.
        assert min(number for number in seen if number > 0) > reached / 2
        resumed = stack.job(job_id)
        assert (resumed["status"], resumed["attempt"]) == ("succeeded", 2), resumed["error"]
        wait_until(lambda: not stack.checkpoints())

    assert resumed["result"]["metrics"] == undisturbed["result"]["metrics"]
    assert out_of_fold(stack, job_id) == out_of_fold(stack, undisturbed["id"])
    steps = [(row["fold"], row["epoch"]) for row in curve(stack, job_id)]
    assert steps == [
        (fold, number) for fold in (0, 1) for number in range(1, LONG["max_epochs"] + 1)
    ]
    jobs_of_models = [model["job_id"] for model in stack.http.get("/v1/models").json()["data"]]
    assert sorted(jobs_of_models) == sorted([undisturbed["id"], job_id])


@pytest.mark.costly("postgresql")
@pytest.mark.slow
def test_what_is_killed_or_stopped_beside_a_worker(stack: Stack) -> None:
    """One worker for three tests: to start one takes ten seconds of a core."""
    with stack.worker() as worker:
        an_api_is_killed_right_after_its_answer(stack)
        a_child_that_is_killed_three_times_gives_up(stack, worker)
        a_worker_that_is_stopped_hands_over(stack, worker)


def an_api_is_killed_right_after_its_answer(stack: Stack) -> None:
    job_id = stack.submit(SHORT)
    stack.kill_api()
    stack.start_api()
    done = stack.wait(job_id, "succeeded", "failed")
    assert (done["status"], done["attempt"]) == ("succeeded", 1), done["error"]
    wait_until(lambda: not stack.checkpoints())


def a_child_that_is_killed_three_times_gives_up(stack: Stack, worker: WorkerProcess) -> None:
    job_id = stack.submit(ENDLESS)
    for attempt in (1, 2, 3):
        wait_until(lambda: stack.job(job_id)["attempt"] == attempt, JOB_SECONDS)  # noqa: B023
        child = wait_until(lambda: worker.child_of(job_id), START_SECONDS)
        assert child is not None
        os.kill(child, signal.SIGKILL)
    failed = stack.wait(job_id, "failed")
    assert failed["error"]["type"].endswith("/attempts-exhausted")
    assert "attempts_exhausted" in failed["error"]["title"]
    assert "batch_size" in failed["error"]["detail"]  # what to do
    wait_until(lambda: not stack.checkpoints())


def a_worker_that_is_stopped_hands_over(stack: Stack, worker: WorkerProcess) -> None:
    """It saves a checkpoint, and its attempt does not count; another goes on."""
    job_id = stack.submit(ENDLESS)
    wait_until(lambda: stack.epoch(job_id) > 0, JOB_SECONDS)
    worker.process.terminate()
    assert worker.process.wait(timeout=STOP_SECONDS) == 0
    released = stack.job(job_id)
    assert (released["status"], released["attempt"]) == ("queued", 0)
    assert stack.checkpoints()
    with stack.worker():
        wait_until(lambda: stack.job(job_id)["attempt"] == 1, START_SECONDS)
        assert stack.cancel(job_id).status_code == 202
        stack.wait(job_id, "cancelled")
        wait_until(lambda: not stack.checkpoints())


def test_an_api_that_is_killed_before_the_commit(stack: Stack) -> None:
    """The writer's lock is held, so that the request waits where it would commit."""
    with stack.database.writing() as session:
        # Whatever the submit needs: on SQLite the one lock, on PostgreSQL the table's.
        if stack.on_redis:
            session.connection().exec_driver_sql("LOCK TABLE jobs IN EXCLUSIVE MODE")
        else:
            session.execute(update(Shard).values(due_at=Shard.due_at))
        with pytest.raises(Exception, match="timed out"):
            stack.http.post(
                "/v1/jobs",
                json={"dataset_id": "latest", "target": "price", **SHORT},
                headers={"Idempotency-Key": "one"},
                timeout=2,
            )
        stack.kill_api()
    stack.start_api()
    assert stack.http.get("/v1/jobs").json()["data"] == []
    job_id = stack.submit(SHORT, key="one")
    assert stack.submit(SHORT, key="one") == job_id
    assert [job["id"] for job in stack.http.get("/v1/jobs").json()["data"]] == [job_id]


def thaw(worker: WorkerProcess, children: list[int]) -> None:
    for pid in (*children, worker.process.pid):
        os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["postgresql and redis"], indirect=True)
def test_a_frozen_worker_comes_back_too_late(stack: Stack, tmp_path: Any) -> None:
    """Its lease runs out; what it writes when it wakes up is refused."""
    job_id = stack.submit(LONG)
    elsewhere = tmp_path / "elsewhere"  # another machine: it cannot see the first one's locks
    with stack.worker() as frozen:
        wait_until(lambda: stack.epoch(job_id) > 0, JOB_SECONDS)
        children = frozen.children()
        for pid in (frozen.process.pid, *children):
            os.kill(pid, signal.SIGSTOP)
        storage = stack.settings.resolved_storage_url
        # The embedded broker is a folder of the machine: its dispatcher hints to itself.
        with stack.worker(data_dir=elsewhere, storage_url=storage) as successor:
            wait_until(lambda: stack.job(job_id)["attempt"] == 2, LEASE + 15)
            wait_until(lambda: successor.child_of(job_id), START_SECONDS)
            thaw(frozen, children)
            done = stack.wait(job_id, "succeeded", "failed", seconds=2 * JOB_SECONDS)
            assert (done["status"], done["attempt"]) == ("succeeded", 2), done["error"]
            wait_until(lambda: "attempt 1 is void" in frozen.log())
        assert len(stack.http.get("/v1/models").json()["data"]) == 1
        assert len(curve(stack, job_id)) == 2 * LONG["max_epochs"]


def lease_ends(stack: Stack) -> None:
    with stack.database.writing() as session:
        session.execute(update(Shard).values(lease_until=database_now(-1)))


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["postgresql and redis"], indirect=True)
def test_two_workers_that_find_the_same_dead_attempt(stack: Stack) -> None:
    """One of them acts."""
    job_id = stack.submit(ENDLESS)
    with stack.worker():
        wait_until(lambda: stack.epoch(job_id) > 0, JOB_SECONDS)
    shutil.rmtree(stack.settings.root / "locks")
    lease_ends(stack)
    with stack.worker(), stack.worker():
        wait_until(lambda: stack.job(job_id)["attempt"] == 2, START_SECONDS)
        assert stack.cancel(job_id, keep_best=True).status_code == 202
        done = stack.wait(job_id, "succeeded", "failed", "cancelled")
        assert (done["status"], done["attempt"]) == ("succeeded", 2), done["error"]
