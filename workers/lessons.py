"""Runs lessons that were asked for over HTTP, one at a time, each in a process of its own."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.lessons import runs
from app.lessons.runs import Claim
from workers.outages import persist
from workers.workplace import Workplace

logger = logging.getLogger(__name__)

INTERVAL = 0.5  # seconds
RENEW_INTERVAL = 5.0  # seconds
MOST_SECONDS = 600.0  # ten times the longest lesson on a busy machine
MOST_ERROR = 2_000  # characters


class LessonRunner:
    """That of one worker."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace

    def run_next(self) -> None:
        """Run the oldest lesson that waits, if any."""
        here = self._workplace
        with here.database.reading() as session:
            if not runs.is_waiting(session):
                return
        with here.database.writing() as session:
            mine = runs.claim(session, here.owner)
        if mine is not None:
            with self._process(mine.lesson) as process:
                self._follow(mine, process)

    @contextmanager
    def _process(self, lesson: str) -> Iterator[subprocess.Popen[str]]:
        """In its own session, so that Ctrl-C in a terminal reaches only the worker."""
        process = subprocess.Popen(
            [sys.executable, "-m", "lessons", lesson],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def _follow(self, mine: Claim, process: subprocess.Popen[str]) -> None:
        """Wait for the outcome and store it, or give the run up."""
        here = self._workplace
        deadline = time.monotonic() + MOST_SECONDS
        renewed = time.monotonic()
        while True:
            try:
                out, errors = process.communicate(timeout=INTERVAL)
                break
            except subprocess.TimeoutExpired:
                pass
            if here.stopping.is_set():
                persist(here.database, lambda session: runs.release(session, mine), here.stopping)
                return
            if time.monotonic() > deadline:
                out, errors = "", f"It took longer than {MOST_SECONDS:.0f} seconds."
                break
            if time.monotonic() > renewed + RENEW_INTERVAL:
                renewed = time.monotonic()
                with here.database.writing() as session:
                    if not runs.renew(session, mine):
                        return
        self._store(mine, out, errors)

    def _store(self, mine: Claim, out: str, errors: str) -> None:
        here = self._workplace
        try:
            outcome = json.loads(out, parse_constant=_refused)
        except ValueError as reason:
            error = (errors.strip() or f"Its process was killed, or {reason}.")[-MOST_ERROR:]
            logger.warning("lesson %s failed: %s", mine.lesson, error)
            persist(here.database, lambda session: runs.fail(session, mine, error), here.stopping)
        else:
            persist(
                here.database, lambda session: runs.succeed(session, mine, outcome), here.stopping
            )


def _refused(name: str) -> float:
    """No database takes NaN or infinity in a document."""
    raise ValueError(f"it reports {name}")
