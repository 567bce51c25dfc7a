"""The worker as a child process of `serve`."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

logger = logging.getLogger(__name__)

# Started by name, because `app` does not import `workers`, which imports torch.
WORKER_COMMAND = [sys.executable, "-m", "workers"]

LOOK = 0.1  # s between two checks of the child
RESTART_DELAYS = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0)  # s; the last one is repeated
STEADY = 60.0  # s; a child that lived longer is started again with the first delay
GRACE = 7.0  # s for the child to save checkpoints and release its shards


class WorkerProcess:
    """Keeps a worker running until the end of the `with` block.

    The worker's standard input is a pipe: if this process dies from any cause, the worker reads
    the end of the pipe and stops. It runs in its own session, so that Ctrl-C reaches only this
    process, which then stops the worker once.
    """

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="worker-keeper", daemon=True)

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Further signals must not cut the wait short, or the worker would be left behind.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        self.stop_soon()
        self._keeper.join()

    def stop_soon(self) -> None:
        """Start stopping the worker, without waiting for it."""
        self._stopping.set()

    def _keep(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            started_at = time.monotonic()
            try:
                ending = self._run()
            except OSError as error:  # out of memory or of process ids
                ending = f"could not be started: {error}"
            failures = 0 if time.monotonic() - started_at > STEADY else failures
            delay = RESTART_DELAYS[min(failures, len(RESTART_DELAYS) - 1)]
            failures += 1
            if not self._stopping.is_set():
                logger.error("the worker %s; starting another in %g s", ending, delay)
            self._stopping.wait(delay)

    def _run(self) -> str:
        """Start a worker, and stop it when asked to; returns how it ended."""
        with subprocess.Popen(
            WORKER_COMMAND, stdin=subprocess.PIPE, start_new_session=True
        ) as process:
            while process.poll() is None and not self._stopping.wait(LOOK):
                pass
            if self._stopping.is_set():
                end(process)
        return f"ended with code {process.returncode}"


def end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM, and after the grace period SIGKILL to the rest of the process group."""
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        logger.warning("the worker did not stop within %g s; killing it", GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
