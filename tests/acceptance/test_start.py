"""An idle installation takes a job at once."""

from __future__ import annotations

import time

import pytest
from stack import SHORT, Stack

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

START_OF_JOB_SECONDS = 2.0


def test_an_idle_worker_begins_at_once(stack: Stack) -> None:
    with stack.worker() as worker:
        worker.wait_until_ready()
        began = time.monotonic()
        job_id = stack.submit(SHORT)
        stack.wait(job_id, "running", "succeeded")
        assert time.monotonic() - began <= START_OF_JOB_SECONDS
        done = stack.wait(job_id, "succeeded", "failed")
        assert (done["status"], done["attempt"]) == ("succeeded", 1), done["error"]
