"""Processes that share the cores of one machine, each training its part of the members.

Members are independent, so lanes only meet at the end. Two lanes of one thread each are faster than
one of two threads, in which every small product waits for both. They also lose nothing to other
processes on the same cores (docs/decisions/0005-lanes.md).

A lane is forked, so it shares the table in memory. It ends when its parent ends.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from models.members import Member
from models.training.desk import Chunk, Desk
from models.training.progress import Interrupted, MemberEpoch

# Seconds until a request to stop is passed on, at most.
POLL_SECONDS = 0.05
ENDED = "ended"


class LaneDied(ChildProcessError):
    """A lane ended without a report, for example because the kernel killed it for its memory."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"a training process ended with exit code {exit_code}")
        self.signal = signal.Signals(-exit_code) if exit_code < 0 else None


class RemoteDesk(Desk):
    """The desk in a lane: calls go through a pipe, and only `stop` comes back."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._stop = False

    def obey(self) -> None:
        """Receive requests to stop, and end when the parent ends."""
        try:
            while True:
                self._pipe.recv()
                self._stop = True
        finally:  # at the end of the pipe, and on Ctrl-C, which a terminal sends to all
            os._exit(1)

    def should_stop(self) -> bool:
        return self._stop

    def epoch_ended(self, metrics: list[MemberEpoch], active: list[Member]) -> None:
        self._call("epoch_ended", metrics, active)

    def checkpoint(self, group: int, chunk: Chunk, state: bytes) -> None:
        self._call("checkpoint", group, chunk, state)

    def split(self, group: int, chunk: Chunk, halves: list[Chunk]) -> None:
        self._call("split", group, chunk, halves)

    def end(self, cause: BaseException | None) -> None:
        """The lane's last word; of `_serve`, not of the desk behind it."""
        self._call(ENDED, cause)

    def _call(self, name: str, *arguments: Any) -> None:
        self._pipe.send((name, arguments))


Work = Callable[[Desk], None]


def run_in_lanes(works: Sequence[Work], desk: Desk, threads: int) -> None:
    """Call each work with the desk, in its own process with the given number of threads.

    Raises
    ------
    Interrupted: the desk asked to stop and a work stopped.
    LaneDied: a process was killed; the others are too.
    Whatever a work raises.
    """
    context = multiprocessing.get_context("fork")
    lanes: dict[Connection, Any] = {}
    try:
        for work in works:
            near, far = context.Pipe()
            lane = context.Process(target=_lane, args=(work, [*lanes, near], far, threads))
            lane.start()
            far.close()
            lanes[near] = lane
        _serve(dict(lanes), desk)
    finally:
        for pipe, lane in lanes.items():
            lane.kill()
            lane.join()
            pipe.close()


def _serve(lanes: dict[Connection, Any], desk: Desk) -> None:
    """Pass on the lanes' calls until all lanes have ended."""
    interrupted = stopping = False
    while lanes:
        for pipe in wait(list(lanes), POLL_SECONDS):
            assert isinstance(pipe, Connection)
            try:
                name, arguments = pipe.recv()
            except (EOFError, OSError) as error:
                lanes[pipe].join()
                raise LaneDied(lanes[pipe].exitcode) from error
            if name != ENDED:
                getattr(desk, name)(*arguments)
                continue
            (cause,) = arguments
            if isinstance(cause, Interrupted):
                interrupted = True
            elif cause is not None:
                raise cause
            del lanes[pipe]
        if not stopping and desk.should_stop():
            stopping = True
            for pipe in lanes:
                with suppress(ConnectionError):  # a lane that died, which is detected by its pipe
                    pipe.send("stop")
    if interrupted:
        raise Interrupted


def _lane(work: Work, strangers: list[Connection], pipe: Connection, threads: int) -> None:
    """The lane's process: the work runs in a second thread, while the first one listens.

    The parent's ends of the pipes were forked too and are closed here, or they would keep the pipes
    open. OpenMP keeps its threads by calling thread: in the first thread it would wait for the
    parent's threads, which were not forked.
    """
    for stranger in strangers:
        stranger.close()
    desk = RemoteDesk(pipe)

    def run() -> None:
        try:
            torch.set_num_threads(threads)
            work(desk)
        except BaseException as error:
            error = _portable(error)
            error.add_note(f"In a lane:\n{traceback.format_exc()}")
            desk.end(error)
        else:
            desk.end(None)

    threading.Thread(target=run).start()
    desk.obey()


def _portable(error: BaseException) -> BaseException:
    """The exception, or one with the same message if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
