"""Work in a process of its own, as a job has one, and the memory that it took.

The memory is what the process and its lanes hold together, sampled from outside. `getrusage` would
not do: of several children it knows the largest alone, and a page that a lane shares with its
parent it counts in both.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")

# Time between two samples, at the least, and in lengths of the last: one of 1 GB takes some 10 ms
# of a core that the work could use. Shorter peaks may be missed.
SAMPLE_SECONDS = 0.05
SAMPLE_LENGTHS = 20
# A page that n processes share counts 1/n in each: the sum over them is what they take together.
# Pages of files, such as the libraries, are left out.
OWN_PAGES = re.compile(r"^Pss_(?:Anon|Shmem): +(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Measured(Generic[Result]):
    """What a piece of work gave, and the most memory it held, above that of the process at its
    start with the work's module imported."""

    result: Result
    memory_bytes: int


class TooSlow(Exception):
    """The work took longer than it was given."""


def measure(
    work: Callable[..., Result], *arguments: Any, limit: float | None = None
) -> Measured[Result]:
    """Call a module's function in a new process, killed after `limit` seconds.

    Raises
    ------
    TooSlow: it took longer than that.
    EOFError: the process died; its traceback is on the standard error.
    """
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    process = context.Process(target=_call, args=(far, work, *arguments))
    process.start()
    far.close()
    assert process.pid is not None
    try:
        held = peak = near.recv()
        began = time.monotonic()
        pause = SAMPLE_SECONDS
        while not near.poll(pause):
            if limit is not None and time.monotonic() - began > limit:
                raise TooSlow
            sampled = time.monotonic()
            peak = max(peak, resident_bytes(process.pid))
            pause = max(SAMPLE_SECONDS, SAMPLE_LENGTHS * (time.monotonic() - sampled))
        return Measured(near.recv(), peak - held)
    finally:
        process.kill()
        process.join()


def best_seconds(run: Callable[[], object], rounds: int) -> float:
    """Of the fastest of some calls, which other work disturbed least."""

    def once() -> float:
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    return min(once() for _ in range(rounds))


def resident_bytes(process: int) -> int:
    """Memory of a process and its descendants, without the pages of files."""
    folder = Path(f"/proc/{process}")
    try:
        own = OWN_PAGES.findall((folder / "smaps_rollup").read_text())
        children = [path.read_text().split() for path in folder.glob("task/*/children")]
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0
    return sum(map(int, own)) * 1024 + sum(
        resident_bytes(int(child)) for group in children for child in group
    )


def _call(pipe: Connection, work: Callable[..., object], *arguments: object) -> None:
    pipe.send(resident_bytes(os.getpid()))
    pipe.send(work(*arguments))
