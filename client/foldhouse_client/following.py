"""Following a job or a sweep to its end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import httpx

from foldhouse_client.connection import Json
from foldhouse_client.errors import FoldhouseError, Unfinished, is_away, job_error
from foldhouse_client.events import FINISHED, PATIENCE, STREAM_TIMEOUT, Event, resumed
from foldhouse_client.ids import is_sweep
from foldhouse_client.jobs import Jobs
from foldhouse_client.sweeps import Sweeps

POLL_FIRST, POLL_LONGEST = 0.2, 2.0  # s between two polls of a job
POLL_GROWTH = 1.3


class Following(Jobs, Sweeps):
    """Calls that follow a job, or a sweep by its own id; not `latest`, which is a job."""

    def watch(self, job_id: str, *, timeout: float | None = None) -> Iterator[Json]:
        """Yield the job or sweep each time it has changed, until it has finished.

        Waits up to a minute if the service or its database becomes unreachable.

        Parameters
        ----------
        timeout: seconds after which Unfinished is raised. The job goes on.
        """
        ask = self.sweep if is_sweep(job_id) else self.job
        last: Json = {}
        delay, answered_at = POLL_FIRST, time.monotonic()
        ends_at = math.inf if timeout is None else answered_at + timeout
        while True:
            job = last
            try:
                job = ask(job_id)
                answered_at = time.monotonic()
            except FoldhouseError as error:
                if not is_away(error) or time.monotonic() - answered_at > PATIENCE:
                    raise
            if job == last:
                delay = min(delay * POLL_GROWTH, POLL_LONGEST)
            else:
                last, delay = job, POLL_FIRST
                yield job
            if last.get("status") in FINISHED:
                return
            left = ends_at - time.monotonic()
            if left <= 0:
                raise Unfinished("Not finished", None, f"{job_id} took longer than {timeout:g} s")
            time.sleep(min(delay, left))

    def events(
        self, job_id: str, after: int = 0, *, on_lost: Callable[[], None] | None = None
    ) -> Iterator[Event]:
        """The events of a job or sweep after a number, until it has finished.

        Resumes after a lost connection, for up to a minute; none is missed and none comes twice.

        Parameters
        ----------
        on_lost: called once each time that the service has become unreachable.
        """
        noun = "sweeps" if is_sweep(job_id) else "jobs"
        path = f"/v1/{noun}/{job_id}/events"

        def open_after(number: int) -> AbstractContextManager[httpx.Response]:
            headers = {"Last-Event-ID": str(number)}
            return self._answer("GET", path, headers=headers, timeout=STREAM_TIMEOUT)

        return resumed(open_after, after, on_lost)

    def wait(self, job_id: str, *, timeout: float | None = None) -> Json:
        """Wait until the job or sweep has succeeded.

        Parameters
        ----------
        timeout: in seconds. The job goes on after it.

        Raises
        ------
        Unfinished: the time is up.
        FoldhouseError: it failed or was cancelled.
        """
        *_, job = self.watch(job_id, timeout=timeout)
        if job["status"] != "succeeded":
            raise job_error(job)
        return job
