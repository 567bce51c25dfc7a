"""Queues shards of dead attempts again, and cleans up after finished ones."""

from __future__ import annotations

import logging
import shutil
import time

from app.jobs import attempts, lifecycle
from app.jobs.attempts import Fence
from app.storage.blobs import artifacts_key
from app.storage.database import DATABASE_AWAY
from workers.checkpoints import remove_checkpoints
from workers.workplace import Workplace

logger = logging.getLogger(__name__)

INTERVAL = 5.0  # seconds
# After the database was unreachable or this machine was suspended, time has passed in which nobody
# could renew a lease.
GRACE = 10.0  # seconds

WORKER_DIED = (
    "The worker that ran it died or lost its connection. If this happens again, check the "
    "worker's log and its machine's memory."
)


class Reconciler:
    """Each worker has one. If several find the same dead attempt, the fence lets only one act."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace
        # A worker may start at the moment that the database returns.
        self._expire_after = time.monotonic() + GRACE
        self._slept = _seconds_asleep()

    def reconcile(self) -> None:
        """One round."""
        slept = _seconds_asleep()
        if slept - self._slept > INTERVAL:
            self._expire_after = time.monotonic() + GRACE
        self._slept = slept
        try:
            self._take_back()
            self._clear_up()
        except DATABASE_AWAY:
            self._expire_after = time.monotonic() + GRACE
            raise

    def _take_back(self) -> None:
        here = self._workplace
        with here.database.reading() as session:
            neighbours = attempts.running_on(session, here.boot_id)
            expired = attempts.expired(session)
        # The row was read first. Its writer held the lock at that time. So if the lock is free now,
        # the writer is dead, or it has finished and the fence fails.
        for fence in neighbours:
            if here.locks.is_free(fence.shard_id, fence.owner):
                self._lose(fence, "worker")
        if time.monotonic() >= self._expire_after:
            for fence in expired:
                self._lose(fence, "lease")

    def _lose(self, fence: Fence, cause: str) -> None:
        """`cause`: how it was noticed, by a free lock of a dead worker or by its lease."""
        with self._workplace.database.writing() as session:
            state = lifecycle.lose(session, fence, WORKER_DIED, blame="worker")
        if state is not None:
            self._workplace.metrics.attempts.labels("lost", cause).inc()
            logger.warning("shard %s: attempt %d of %s is dead: %s", *fence, state)

    def _clear_up(self) -> None:
        """Remove what attempts on this host have left of finished shards."""
        here = self._workplace
        for shard_id, owner in here.locks.all():
            with here.database.reading() as session:
                finished = attempts.is_finished(session, shard_id)
                registered = attempts.registered_artifacts(session, shard_id)
            if finished and here.locks.is_free(shard_id, owner):
                self._remove_unregistered(shard_id, registered)
                remove_checkpoints(here.blobs, shard_id)
                shutil.rmtree(here.workdir(shard_id, owner), ignore_errors=True)
                here.locks.remove(shard_id, owner)

    def _remove_unregistered(self, shard_id: str, registered: set[str] | None) -> None:
        """Remove what an attempt stored before it died without registering it. Files of a deleted
        shard are recorded for removal."""
        if registered is None:
            return
        folder = artifacts_key(shard_id)
        for name in set(self._workplace.blobs.names(folder)) - registered:
            self._workplace.blobs.delete(f"{folder}/{name}")


def _seconds_asleep() -> float:
    """A clock that includes suspended time and forward steps of the system clock."""
    return time.time() - time.monotonic()
