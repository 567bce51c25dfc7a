"""The limits of a container: those of this process's control groups.

Versions 2 (https://docs.kernel.org/admin-guide/cgroup-v2.html) and 1 are supported. The limits of
parent groups apply too. In a container, the path that the kernel reports may be the host's, of
which only the end or the root is mounted. Paths that do not exist are skipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path, PurePosixPath

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
V2 = ""  # version 2 has one hierarchy for all controllers


def memory_limit() -> float:
    """The memory limit in bytes; infinite if there is none."""
    texts = [*_settings(V2, "memory.max"), *_settings("memory", "memory.limit_in_bytes")]
    return min((int(text) for text in texts if text != "max"), default=math.inf)


def core_limit() -> float:
    """The CPU limit in cores; infinite if there is none."""
    version_2 = (text.split() for text in _settings(V2, "cpu.max"))
    quotas, periods = _settings("cpu", "cpu.cfs_quota_us"), _settings("cpu", "cpu.cfs_period_us")
    limits = (
        int(quota) / int(period)
        for quota, period in chain(version_2, zip(quotas, periods, strict=True))
        if quota not in ("max", "-1")
    )
    return min(limits, default=math.inf)


def _settings(controller: str, name: str) -> Iterator[str]:
    """The contents of a file in this process's group and its parents."""
    try:
        lines = OWN.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        group = PurePosixPath(path.lstrip("/"))
        for folder in (group, *group.parents):
            with suppress(OSError):  # not mounted here, or not readable
                yield (ROOT / controller / folder / name).read_text().strip()
