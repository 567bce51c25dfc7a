"""The supervisor's side of a child process, and the spare that waits for the next job."""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

from workers.protocol import REPORT, Order, Report, Stop, StopReason

logger = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "workers.attempt")


class Child:
    """A process that runs one attempt.

    It is in a session of its own, so that Ctrl-C in a terminal reaches the worker alone, which
    then asks the child to stop.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._socket, standard_input = socket.socketpair()
        reading, writing = os.pipe()
        with standard_input:
            self._process = subprocess.Popen(
                [*command, str(writing)],
                stdin=standard_input.fileno(),
                stdout=sys.__stderr__,
                pass_fds=[writing],
                env=environment,
                start_new_session=True,
            )
        os.close(writing)
        # Drained by a thread: a full pipe would stop the training while the database is slow.
        self._reports: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        threading.Thread(
            target=self._read, args=(reading,), name=f"reports-{self.pid}", daemon=True
        ).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def begin(self, order: Order, lock: int) -> None:
        """Hand over the job and a copy of its open lock file; a dead child is noticed later."""
        order.path.write_text(order.model_dump_json())
        try:
            socket.send_fds(self._socket, [b"\n"], [lock])
            self._send(str(order.path))
        except OSError as error:
            logger.warning("job %s: child %d takes no order: %s", order.job_id, self.pid, error)

    def request_stop(self, reason: StopReason) -> None:
        try:
            self._send(Stop(reason=reason).model_dump_json())
        except OSError:
            logger.debug("child %d has gone already", self.pid)

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
        self._process.terminate()

    def kill(self) -> int:
        """Make sure that it is dead; returns the exit status as `subprocess` has it."""
        self._process.kill()
        status = self._process.wait()
        self._socket.close()
        return status

    def wait(self, timeout: float) -> int:
        """The exit status of a child that has closed its pipe, killed if it lingers."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            logger.warning("child %d closed its pipe and lives on: killed", self.pid)
        return self.kill()

    def _send(self, line: str) -> None:
        self._socket.sendall(line.encode() + b"\n")

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as pipe:
            for line in pipe:
                try:
                    self._reports.put(REPORT.validate_json(line))
                except ValueError as error:
                    # The line that was being written when the child died.
                    logger.warning("child %d: unreadable report: %s", self.pid, error)
        self._reports.put(None)


class Spare:
    """Keeps one child waiting with everything imported, so that a job starts at once."""

    def __init__(self, environment: dict[str, str], command: Sequence[str] = COMMAND) -> None:
        self._environment = environment
        self._command = command
        self._lock = threading.Lock()
        self._waiting: Child | None = None

    def prepare(self) -> None:
        """Start the waiting child where there is none."""
        with self._lock:
            if self._waiting is None:
                self._waiting = self._start()

    def take(self) -> Child:
        """The waiting child, or a new one where it has died."""
        with self._lock:
            child, self._waiting = self._waiting, None
        if child is not None and child.is_alive():
            return child
        if child is not None:
            child.kill()
        return self._start()

    def close(self) -> None:
        with self._lock:
            if self._waiting is not None:
                self._waiting.kill()
                self._waiting = None

    def _start(self) -> Child:
        return Child(self._command, self._environment)


def describe_exit(status: int) -> str:
    """What a child's exit status says to the user, and what to do about it."""
    if status == -signal.SIGKILL:
        return (
            "The training process was killed, most likely because the machine ran out of memory. "
            "A smaller batch_size, smaller hidden_sizes or fewer k_folds need less."
        )
    if status < 0:
        return (
            f"The training process died of signal {-status} ({signal.strsignal(-status)}). The "
            "worker's log has what it printed last."
        )
    return (
        f"The training process ended with exit code {status} and no result. The worker's log "
        "has its traceback."
    )
