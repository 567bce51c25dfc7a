"""The worker process: `python -m workers`.

SIGTERM, SIGINT, SIGHUP, or the end of a pipe on its standard input (its parent is gone) stop it:
children save a checkpoint, their shards are released, and the process ends within seconds. It is
not called workers.main, because multiprocessing would import that again in every child.
"""

from __future__ import annotations

import logging
import os
import signal
import stat
import sys
import threading

from celery.worker import WorkController, state

from app.accounts import quotas
from app.logs import log_to_terminal
from app.queue.config import worker_celery
from app.queue.dispatch import Hints
from app.settings import Settings
from app.storage import sweep
from app.storage.database import DATABASE_AWAY
from workers import deliveries, dispatcher, lessons, reconciler, registration
from workers.deliveries import Deliveries
from workers.dispatcher import Dispatcher
from workers.lessons import LessonRunner
from workers.outages import reason, repeat
from workers.process import Child, keep_imported
from workers.reconciler import Reconciler
from workers.registration import Registration
from workers.slots import Slots
from workers.supervisor import Supervisor
from workers.tasks import register
from workers.workplace import Workplace

logger = logging.getLogger("workers")

STANDARD_INPUT = 0


def main() -> None:
    settings = Settings()
    log_to_terminal(settings)
    for chatty in ("celery.app.trace", "celery.worker.strategy"):  # two lines a hint
        logging.getLogger(chatty).setLevel(logging.WARNING)
    workplace = Workplace.of(settings)
    try:
        workplace.metrics.serve(settings)
    except OSError as error:
        sys.exit(f"FOLDHOUSE_WORKER_METRICS_PORT={settings.worker_metrics_port}: {error.strerror}")
    slots = Slots(settings)
    keep_imported(slots.child_environment())
    hints = Hints(settings)
    celery = worker_celery(settings)
    register(celery, Supervisor(workplace, slots, Child))

    stop_on_signals(workplace.stopping)
    threading.Thread(target=stop_with_starter, name="starter", daemon=True).start()
    own_row = Registration(workplace, slots)
    stopping = workplace.stopping
    repeat(own_row.refresh, registration.INTERVAL, stopping)
    repeat(Reconciler(workplace).reconcile, reconciler.INTERVAL, stopping)
    repeat(workplace.sweep, sweep.INTERVAL, stopping)
    sender = Deliveries(
        workplace.database,
        workplace.metrics.deliveries,
        allow_private=settings.webhook_allow_private,
    )
    repeat(sender.send_due, deliveries.INTERVAL, stopping)
    repeat(LessonRunner(workplace).run_next, lessons.INTERVAL, stopping)
    quota = quotas.defaults(settings)
    hinting = Dispatcher(workplace.database, hints, slots, quota)
    repeat(hinting.send_due, dispatcher.INTERVAL, stopping)

    logger.info("worker %s: %d × %s", workplace.owner, slots.count, slots.device)
    controller = WorkController(
        app=celery,
        pool="threads",
        concurrency=slots.count,
        hostname=workplace.owner,
        consumer_cls="workers.consumer:Consumer",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    controller.start()  # returns when stopped

    try:
        own_row.withdraw()
    except DATABASE_AWAY as error:
        logger.warning("the worker's row stays: %s", reason(error))
    logger.info("worker %s: stopped", workplace.owner)
    sys.exit(controller.exitcode)


def stop_on_signals(stopping: threading.Event) -> None:
    """Celery looks at `should_stop` between two messages; then it waits for its threads."""

    def stop(_signum: int, _frame: object) -> None:
        stopping.set()
        state.should_stop = os.EX_OK

    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, stop)


def stop_with_starter() -> None:
    """If standard input is a pipe, its end means that the parent process is gone."""
    if stat.S_ISFIFO(os.fstat(STANDARD_INPUT).st_mode):
        while os.read(STANDARD_INPUT, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
