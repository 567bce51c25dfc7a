"""Processes that share the cores of one machine, each training its part of the members.

Members are independent of each other, so lanes need not meet before the end: two of one thread
each train faster than one of two threads, whose every small product ends in a meeting, and lose
nothing to other processes on the same cores (docs/decisions/0005-lanes.md).

A lane is forked: it sees the table as it lies in memory. It dies with its parent.
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

# How soon a request to stop is passed on.
POLL_SECONDS = 0.05
ENDED = "ended"


class LaneDied(ChildProcessError):
    """A lane ended without a word, as one does that the kernel kills for its memory."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"a training process ended with exit code {exit_code}")
        self.signal = signal.Signals(-exit_code) if exit_code < 0 else None


class RemoteDesk(Desk):
    """The desk as a lane sees it: calls go through a pipe, and nothing comes back but `stop`."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._stop = False

    def obey(self) -> None:
        """Take requests to stop, and end with the parent."""
        try:
            while True:
                self._pipe.recv()
                self._stop = True
        finally:  # at the end of the pipe, and at Ctrl-C, which a terminal sends to all
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
    """Call each work with the desk, in a process of its own with so many threads.

    Raises
    ------
    Interrupted: the desk asked for it and a work gave way.
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
    """Hand the lanes' calls on until all have ended."""
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
                with suppress(ConnectionError):  # of one that died: its pipe says so
                    pipe.send("stop")
    if interrupted:
        raise Interrupted


def _lane(work: Work, strangers: list[Connection], pipe: Connection, threads: int) -> None:
    """The process: works in a thread of its own, while the first one listens.

    The parent's ends of the pipes were forked too, and must not keep it alive in its lanes. OpenMP
    keeps its threads by the thread that called it: the parent's, which were not forked, would be
    waited for in the first thread.
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
    """The exception, or one that says the same if the pipe does not carry it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
