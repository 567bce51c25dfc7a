"""How many jobs a worker trains at a time, and what each gets: a GPU, or a share of the cores.

All this works without torch, which the worker's own process never imports.
"""

from __future__ import annotations

import itertools
import os
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.settings import Settings
from models.machine import usable_cores


class Slots:
    """One slot per GPU; on a CPU one, or as many as `FOLDHOUSE_SLOTS` says."""

    def __init__(self, settings: Settings) -> None:
        gpus = 0 if settings.device == "cpu" else _visible_gpus()
        self.device = "cuda" if gpus else "cpu"
        self.count = settings.slots or gpus or 1
        self._free: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        for slot in range(self.count):
            self._free.put(slot % gpus if gpus else None)

    @contextmanager
    def taken(self) -> Iterator[int | None]:
        """Occupy a slot; yields its GPU's index among the visible ones, or None for the CPU."""
        gpu = self._free.get()
        try:
            yield gpu
        finally:
            self._free.put(gpu)

    def free(self) -> int:
        return self._free.qsize()

    def child_environment(self) -> dict[str, str]:
        """The environment for a child's cores, one lane on each. The operator's values are kept.

        Threads of a lane must not spin while they wait: two children with two spinning OpenMP
        threads each, on two cores, train five times slower than a single child.
        """
        threads = max(1, usable_cores() // self.count)
        return {
            "OMP_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            "KMP_BLOCKTIME": "0",
            **os.environ,
        }


def _visible_gpus() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return len(list(Path("/dev").glob("nvidia[0-9]*")))
    # CUDA stops reading at the first name that is none, such as -1.
    names = itertools.takewhile(lambda name: name not in ("", "-1"), visible.split(","))
    return len(list(names))
