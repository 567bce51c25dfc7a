"""Runs attempts: claims a shard, gives it to a child, and stores how it ended.

tasks.run_shard ──▶ Supervisor.run ──▶ a child: workers.training.attempt ──▶ models.experiment.run
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy.orm import Session

from app.accounts import quotas
from app.jobs import lifecycle
from app.jobs.lifecycle import Claim
from app.logs import saying
from app.storage.database import DATABASE_AWAY
from app.storage.tables import ShardKind
from app.sweeps import dealing
from workers.lease import kept_lease
from workers.outages import persist, reason
from workers.process import Child, describe_exit
from workers.protocol import (
    Failed,
    Hindered,
    Order,
    Stopped,
    Succeeded,
    describe_os_error,
)
from workers.slots import Slots
from workers.watch import TIMING, Ending, Exited, Lost, Timing, Watch
from workers.workplace import Workplace

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Supervisor:
    """One per worker process. Each of its threads runs one attempt at a time."""

    def __init__(
        self,
        workplace: Workplace,
        slots: Slots,
        start: Callable[[], Child],
        timing: Timing = TIMING,
    ) -> None:
        self._workplace = workplace
        self._slots = slots
        self._start = start
        self._timing = timing

    def run(self, shard_id: str) -> None:
        """Run an attempt of the shard, from its claim to its end, if it is queued and due."""
        here = self._workplace
        if here.stopping.is_set():
            return
        try:
            with self._slots.taken() as gpu, here.locks.held(shard_id, here.owner) as lock:
                with here.database.writing() as session:
                    claim = lifecycle.claim(
                        session,
                        shard_id,
                        owner=here.owner,
                        boot_id=here.boot_id,
                        quota=quotas.defaults(here.settings),
                    )
                if claim is not None:
                    at_work = {"job": claim.job_id, "request_id": claim.request_id}
                    running = here.metrics.running.track_inprogress()
                    with saying(tenant=claim.tenant, **at_work), running:
                        self._attempt(claim, lock, gpu)
        except BlockingIOError:
            logger.info("shard %s: an earlier child is still ending", shard_id)
        except DATABASE_AWAY as error:
            # A claim that was made is taken back when the lock is found free, or by its lease.
            logger.warning("shard %s: left to the reconciler: %s", shard_id, reason(error))

    def _attempt(self, claim: Claim, lock: int, gpu: int | None) -> None:
        logger.info("attempt %d begins", claim.fence.attempt)
        here = self._workplace
        workdir = here.workdir(claim.fence.shard_id, claim.fence.owner)
        child = None
        try:
            shutil.rmtree(workdir, ignore_errors=True)
            workdir.mkdir(parents=True)
            with kept_lease(here.database, claim.fence) as lost:
                order = self._order(claim, gpu, workdir)
                child = self._start()
                child.begin(order, lock)
                watch = Watch(
                    here.database,
                    claim.fence,
                    child,
                    lost=lost,
                    stopping=here.stopping,
                    timing=self._timing,
                )
                self._settle(claim, watch, watch.until_end())
        except DATABASE_AWAY:
            raise
        except Exception as error:
            logger.exception("attempt %d failed in the worker", claim.fence.attempt)
            ending = hindrance(error)
            is_stored = self._persist(lambda s: write_end(s, claim, ending, {}))
            self._count(claim, ending, is_stored)
        finally:
            if child is not None:
                child.kill()
            shutil.rmtree(workdir, ignore_errors=True)

    def _order(self, claim: Claim, gpu: int | None, workdir: Path) -> Order:
        here = self._workplace
        settings = here.settings
        is_batch = claim.kind is ShardKind.BATCH
        return Order(
            kind=claim.kind,
            job_id=claim.job_id,
            request_id=claim.request_id,
            job_name=claim.job_name,
            dataset_name=claim.dataset_name,
            shard_id=claim.fence.shard_id,
            spec=claim.spec,
            profile=claim.profile,
            parquet=claim.parquet,
            dataset_sha256=claim.dataset_sha256,
            parquet_sha256=claim.parquet_sha256,
            storage_url=settings.resolved_storage_url,
            workdir=workdir,
            device=settings.device,
            start=claim.start,
            gpu=gpu,
            sweep=claim.sweep,
            trials=dealing.of_batch(here.database, settings, claim) if is_batch else [],
            files=[*claim.files],
        )

    def _settle(self, claim: Claim, watch: Watch, ending: Ending) -> None:
        """Write the end of an attempt; where the shard is another's by now, nothing is written."""
        artifacts: dict[str, str] = {}
        if isinstance(ending, Succeeded):
            # The files come first: a row must not name a file that is not there.
            for name, path in ending.artifacts.items():
                folder = claim.fence.shard_id
                artifacts[name] = self._workplace.blobs.put_artifact(folder, path)

        def write(session: Session) -> bool:
            watch.store_progress(session)
            return write_end(session, claim, ending, artifacts)

        is_stored = self._persist(write)
        self._count(claim, ending, is_stored)
        if is_stored:
            ended = type(ending).__name__.lower()
            logger.info("attempt %d %s", claim.fence.attempt, ended)
        else:
            logger.warning("attempt %d is void", claim.fence.attempt)

    def _count(self, claim: Claim, ending: Ending, is_stored: bool) -> None:
        metrics = self._workplace.metrics
        outcome, cause = outcome_of(ending) if is_stored else ("void", "")
        metrics.attempts.labels(outcome, cause).inc()
        # The result of a sweep's model repeats what its batches have trained.
        if is_stored and isinstance(ending, Succeeded) and claim.kind is not ShardKind.MODEL:
            for result in (ending.result, *ending.result.get("trials", [])):
                for fold in result.get("folds", []):
                    metrics.epochs.inc(fold["epochs"])
                    metrics.rows.inc(fold["epochs"] * fold["rows_train"])

    def _persist(self, write: Callable[[Session], T]) -> T:
        return persist(self._workplace.database, write, self._workplace.stopping)


def write_end(session: Session, claim: Claim, ending: Ending, artifacts: dict[str, str]) -> bool:
    """The transition that an ending stands for; False: the shard is another's by now."""
    fence = claim.fence
    match ending:
        case Succeeded() if claim.kind is ShardKind.BATCH:
            return lifecycle.record_batch(
                session, fence, ending.result["trials"], ending.result["seconds"], artifacts
            )
        case Succeeded():
            return lifecycle.succeed(session, fence, ending.result, artifacts) is not None
        case Failed():
            return lifecycle.fail(session, fence, ending.detail)
        case Stopped(reason="cancel"):
            return lifecycle.cancel(session, fence)
        case Stopped():
            return lifecycle.release(session, fence)
        case Hindered():
            return lifecycle.lose(session, fence, ending.detail, blame="machine") is not None
        case Exited():
            return lifecycle.lose(session, fence, describe_exit(ending.status)) is not None
        case Lost():
            return False


def outcome_of(ending: Ending) -> tuple[str, str]:
    """How the metrics name an ending that was stored, and its cause."""
    match ending:
        case Stopped(reason="cancel"):
            return "cancelled", ""
        case Stopped():
            return "released", ""
        case Hindered():
            return "lost", "machine"
        case Exited():
            return "lost", "process"
        case _:
            return type(ending).__name__.lower(), ""  # succeeded, failed


def hindrance(error: Exception) -> Hindered | Failed:
    """Explain to the user that an attempt failed in the worker itself."""
    if isinstance(error, dealing.NotDrawn):
        return Failed(detail=str(error))
    if isinstance(error, OSError):
        return Hindered(detail=describe_os_error(error))
    return Hindered(detail="The worker failed unexpectedly. Its log has the traceback.")
