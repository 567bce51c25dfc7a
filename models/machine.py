"""The cores, memory and speed that this process has."""

from __future__ import annotations

import math
import os
import time
from functools import lru_cache

import numpy as np

from models import cgroups


@lru_cache
def core_rate() -> float:
    """Multiplications a second of one of this machine's cores, measured once in 10 ms.

    Multiplies numbers in the first-level cache in one thread: a matrix product would wait for the
    threads of the linear algebra library. The best of many rounds shows what the core can do, even
    if other processes run at the moment.
    """
    size, rounds = 4_096, 2_000
    a, b, out = (np.ones(size, np.float32) for _ in range(3))

    def once() -> float:
        began = time.perf_counter()
        np.multiply(a, b, out=out)
        return time.perf_counter() - began

    return size / min(once() for _ in range(rounds))


def usable_cores() -> int:
    """Cores that this process may run on; a container may have fewer than its machine."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cgroups.core_limit())))


def usable_memory() -> int:
    """Bytes that this process may fill; a container may have less than its machine."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(min(physical, cgroups.memory_limit()))
