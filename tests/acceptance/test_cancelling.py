"""A job begins at once; it is cancelled at once while queued, within seconds while running, and
never half."""

from __future__ import annotations

import statistics
import threading
import time

import pytest
from jobs_in_database import claim, stored, submit
from polling import wait_until
from stack import ENDLESS, JOB_SECONDS, SHORT, Json, Stack

from app.errors import Conflict
from app.jobs import lifecycle
from app.storage.database import Database
from app.storage.tables import Job, Model, State

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

RACES = 200
START_OF_JOB_SECONDS = 2.0
RUNNING_SECONDS = 15.0
USUALLY_SECONDS = 2.0


@pytest.mark.costly("sqlite")
def test_queued_running_and_finished_jobs(stack: Stack) -> None:
    """With one worker for all of them: starting one takes ten seconds of a core."""
    queued = stack.submit(SHORT)
    assert stack.cancel(queued).json()["status"] == "cancelled"
    seconds = []
    with stack.worker() as worker:
        worker.wait_until_ready()
        done = an_idle_worker_begins_at_once(stack)
        for _ in range(3):
            job_id = stack.submit(ENDLESS)
            wait_until(lambda: stack.epoch(job_id) > 0, JOB_SECONDS)  # noqa: B023
            began = time.monotonic()
            assert stack.cancel(job_id).json()["status"] == "running"
            stack.wait(job_id, "cancelled", seconds=RUNNING_SECONDS)
            seconds.append(time.monotonic() - began)
        keep_best_makes_a_model_of_what_was_learnt(stack)
    assert statistics.median(seconds) < USUALLY_SECONDS
    refused = stack.cancel(done["id"])
    assert refused.status_code == 409
    assert "already ended as succeeded" in refused.json()["detail"]
    assert stack.job(done["id"])["status"] == "succeeded"


def an_idle_worker_begins_at_once(stack: Stack) -> Json:
    began = time.monotonic()
    job_id = stack.submit(SHORT)
    stack.wait(job_id, "running", "succeeded")
    assert time.monotonic() - began <= START_OF_JOB_SECONDS
    done = stack.wait(job_id, "succeeded", "failed")
    assert (done["status"], done["attempt"]) == ("succeeded", 1), done["error"]
    return done


def keep_best_makes_a_model_of_what_was_learnt(stack: Stack) -> None:
    job_id = stack.submit(ENDLESS)
    wait_until(lambda: stack.epoch(job_id) > 5, JOB_SECONDS)
    assert stack.cancel(job_id, keep_best=True).status_code == 202
    kept = stack.wait(job_id, "succeeded", "failed", "cancelled")
    assert kept["status"] == "succeeded", kept["error"]
    assert {fold["stopped_by"] for fold in kept["result"]["folds"]} == {"keep_best"}
    assert all(5 < fold["epochs"] < ENDLESS["max_epochs"] for fold in kept["result"]["folds"])
    assert kept["result"]["metrics"]["r2"] > 0.5
    assert stack.price(kept["result"]["model_id"]) > 0
    assert len(stack.http.get(f"/v1/jobs/{job_id}/oof").json()["data"]) == 400


def test_cancelling_while_the_job_completes(database: Database) -> None:
    """Either the request was refused and the model is there, or there is none: never both."""
    for _ in range(RACES):
        shard = submit(database)
        fence = claim(database, shard).fence
        together = threading.Barrier(2)
        refused: list[Conflict] = []

        def ask() -> None:
            together.wait()  # noqa: B023
            try:
                with database.writing() as session:
                    lifecycle.request_cancel(session, session.get_one(Job, shard.job_id))  # noqa: B023
            except Conflict as conflict:
                refused.append(conflict)  # noqa: B023

        asking = threading.Thread(target=ask)
        asking.start()
        together.wait()
        with database.writing() as session:
            lifecycle.succeed(session, fence, {"metrics": {}, "folds": []}, {})
        asking.join()
        _, job = stored(database, shard)
        with database.reading() as session:
            models = session.query(Model).where(Model.job_id == job.id).count()
        assert models == (job.status is State.SUCCEEDED)
        assert job.status is (State.SUCCEEDED if refused else State.CANCELLED)
