"""The supervisor's end of a child process."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import queue
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from workers.protocol import REPORT, Order, Report, Request
from workers.training import attempt

logger = logging.getLogger(__name__)

CONTEXT = multiprocessing.get_context("forkserver")
IMPORTED = "workers.training.imported"
UNKNOWN = 255  # multiprocessing's status of a process whose real one is unknown

Attempt = Callable[[socket.socket, Connection], None]

# multiprocessing reads an exit status once, in whichever thread asks first.
_turn = threading.Lock()


def keep_imported(environment: dict[str, str]) -> None:
    """Start the process that children are forked from, so that no job waits for imports.

    Imports take five seconds of a core; forking takes a twentieth of that.
    """
    os.environ.update(environment)
    CONTEXT.set_forkserver_preload([IMPORTED])
    forkserver.ensure_running()


def _forked(attempt: Attempt, far: socket.socket, reports: Connection) -> ForkServerProcess:
    """A new process; raises OSError if none can be forked."""
    for _ in range(2):
        process = CONTEXT.Process(target=attempt, args=(far, reports))
        try:
            with _turn:
                process.start()
        except EOFError:
            logger.warning("the process that children are forked from has died: once more")
        else:
            return process
    raise OSError(errno.ECHILD, "no process can be forked that trains")


class Child:
    """A process that runs one attempt, forked from one with everything imported.

    It runs in its own session, so that Ctrl-C in a terminal reaches only the worker, which then
    asks the child to stop.
    """

    def __init__(self, attempt: Attempt = attempt.main) -> None:
        self._socket, far = socket.socketpair()
        reports, writing = CONTEXT.Pipe(duplex=False)
        with far, writing:
            self._process = _forked(attempt, far, writing)
        # multiprocessing knows the process only as long as the one it was forked from lives.
        self._pidfd = os.pidfd_open(self.pid)
        self._status: int | None = None
        # Drained by a thread: a full pipe would stop the training while the database is slow.
        self._reports: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        threading.Thread(
            target=self._read, args=(reports,), name=f"reports-{self.pid}", daemon=True
        ).start()

    @property
    def pid(self) -> int:
        pid = self._process.pid
        assert pid is not None
        return pid

    def begin(self, order: Order, lock: int) -> None:
        """Send the job and a copy of its open lock file. A dead child is noticed later."""
        order.path.write_text(order.model_dump_json())
        try:
            socket.send_fds(self._socket, [b"\n"], [lock])
            self._send(str(order.path))
        except OSError as error:
            logger.warning("job %s: child %d takes no order: %s", order.job_id, self.pid, error)

    def request(self, request: Request) -> None:
        try:
            self._send(request.model_dump_json())
        except OSError:
            logger.debug("child %d has already gone", self.pid)

    def next_report(self, timeout: float) -> Report | None:
        """Wait up to `timeout` seconds for a report.

        Raises
        ------
        EOFError: the child has closed the pipe.
        """
        try:
            report = self._reports.get(timeout=timeout)
        except queue.Empty:
            return None
        if report is None:
            raise EOFError
        return report

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> int:
        """Make sure that it is dead; returns the exit status as `subprocess` does."""
        if self._status is None:
            self._socket.close()
            self._signal(signal.SIGKILL)
            connection.wait([self._pidfd])
            with _turn:
                self._process.join()
                self._status = self._process.exitcode
            os.close(self._pidfd)
        assert self._status is not None
        return self._status

    def wait(self, timeout: float) -> int:
        """The exit status of a child that has closed its pipe; kills it if it does not end."""
        if not connection.wait([self._pidfd], timeout):
            logger.warning("child %d closed its pipe but did not end: killed", self.pid)
        return self.kill()

    def _signal(self, signum: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signum)

    def _send(self, line: str) -> None:
        self._socket.sendall(line.encode() + b"\n")

    def _read(self, pipe: Connection) -> None:
        with pipe, os.fdopen(os.dup(pipe.fileno()), "rb") as lines:
            for line in lines:
                try:
                    self._reports.put(REPORT.validate_json(line))
                except ValueError as error:
                    # The line that was being written when the child died.
                    logger.warning("child %d: unreadable report: %s", self.pid, error)
        self._reports.put(None)


def describe_exit(status: int) -> str:
    """Explain a child's exit status to the user, and what to do about it."""
    if status == -signal.SIGKILL:
        return (
            "The training process was killed, most likely because the machine ran out of memory. "
            "Use a smaller batch_size, smaller hidden_sizes or fewer k_folds."
        )
    if status == UNKNOWN:
        return (
            "The training process was killed together with the one that it was forked from, most "
            "likely because the machine ran out of memory."
        )
    if status < 0:
        return (
            f"The training process died of signal {-status} ({signal.strsignal(-status)}). Its "
            "last output is in the worker's log."
        )
    return (
        f"The training process ended with exit code {status} and no result. Its traceback is in "
        "the worker's log."
    )
