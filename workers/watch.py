"""Watches a child from its order to its last report.

It stores progress, and stops the child if the job is cancelled, the worker stops, or another
attempt has the shard.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.jobs import attempts
from app.jobs.attempts import Fence
from app.storage.database import DATABASE_AWAY, Database
from models.epochs import FoldEpoch
from workers.outages import reason
from workers.process import Child
from workers.protocol import LastReport, Progressed, Stop, Stopped, StopReason, Stored

logger = logging.getLogger(__name__)

POLL_INTERVAL = 0.1  # seconds
EXIT_PATIENCE = 5.0  # seconds, for a child that has closed its pipe


@dataclass(frozen=True)
class Timing:
    """All in seconds."""

    update: float = 0.5  # between two writes of progress, each with a look at the job
    terminate: float = 10.0  # from the moment a cancelled child is asked to stop to SIGTERM
    kill: float = 15.0  # likewise, to SIGKILL
    release: float = 4.0  # to SIGKILL where the worker stops; the last checkpoint stands


TIMING = Timing()


@dataclass(frozen=True)
class Exited:
    """The child died without a last report; `status` is as in `subprocess`."""

    status: int


@dataclass(frozen=True)
class Lost:
    """The shard is no longer this attempt's."""


Ending = LastReport | Exited | Lost


class Watch:
    """Over one child."""

    def __init__(
        self,
        database: Database,
        fence: Fence,
        child: Child,
        *,
        lost: threading.Event,
        stopping: threading.Event,
        timing: Timing,
    ) -> None:
        self._database = database
        self._fence = fence
        self._child = child
        self._lost = lost
        self._stopping = stopping
        self._timing = timing
        self._progress: dict[str, Any] | None = None
        self._epochs: list[FoldEpoch] = []
        self._stored = 0  # epochs
        self._updated_at = time.monotonic()
        self._asked: dict[StopReason, float] = {}  # since when

    def until_end(self) -> Ending:
        """Wait for the child's last report, its death, or the loss of the shard."""
        while not self._lost.is_set():
            try:
                report = self._child.next_report(POLL_INTERVAL)
            except EOFError:
                status = self._child.wait(EXIT_PATIENCE)
                # A child that was asked to stop, and died, has done what it was asked to do.
                gone = [reason for reason in self._asked if reason != "keep_best"]
                return Stopped(reason=gone[0]) if gone else Exited(status)
            if isinstance(report, Progressed):
                self._progress = report.progress
                self._epochs += report.epochs
            elif report is not None:
                return report
            self._update_if_due()
            if self._stopping.is_set():
                self._ask("release")
            self._press()
        return Lost()

    def store_progress(self, session: Session) -> None:
        """Write what the child reported since the last write."""
        if self._progress is None:
            return
        if not attempts.record_progress(session, self._fence, self._progress, self._epochs):
            self._lost.set()

    def _update_if_due(self) -> None:
        now = time.monotonic()
        if now < self._updated_at + self._timing.update:
            return
        self._updated_at = now
        try:
            if self._progress is not None:
                with self._database.writing() as session:
                    self.store_progress(session)
                if self._lost.is_set():
                    return
                self._stored += len(self._epochs)
                self._progress, self._epochs = None, []
                self._child.request(Stored(epochs=self._stored))
            with self._database.reading() as session:
                standing = attempts.standing(session, self._fence)
        except DATABASE_AWAY as error:
            # The lease already logs this, and less often.
            logger.debug("shard %s: not stored yet: %s", self._fence.shard_id, reason(error))
            return
        if standing == "lost":
            self._lost.set()
        elif standing != "wanted":
            self._ask(standing)

    def _ask(self, what: StopReason) -> None:
        if what not in self._asked:
            logger.info("shard %s: asking the child to %s", self._fence.shard_id, what)
            self._asked[what] = time.monotonic()
            self._child.request(Stop(reason=what))

    def _press(self) -> None:
        """Send a signal, which a child that hangs cannot ignore."""
        now = time.monotonic()
        cancelling = now - self._asked.get("cancel", now)
        releasing = now - self._asked.get("release", now)
        if cancelling >= self._timing.kill or releasing >= self._timing.release:
            self._child.kill()
        elif cancelling >= self._timing.terminate:
            self._child.terminate()
