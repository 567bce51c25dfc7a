"""A container's limits, as the kernel shows them in both versions of control groups."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from models import cgroups
from models.machine import usable_cores, usable_memory

GIB = 1024**3
UNLIMITED = "9223372036854771712"  # of version 1


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cgroups, "ROOT", tmp_path / "mounted")
    monkeypatch.setattr(cgroups, "OWN", tmp_path / "cgroup")
    return tmp_path


def lay(root: Path, own: str, **files: str) -> None:
    (root / "cgroup").write_text(own)
    for name, text in files.items():
        path = root / "mounted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


@pytest.mark.parametrize(
    ("own", "files", "memory", "cores"),
    [
        # A container of version 2 sees its own group as the root.
        ("0::/\n", {"memory.max": str(GIB), "cpu.max": "150000 100000"}, GIB, 1.5),
        ("0::/\n", {"memory.max": "max", "cpu.max": "max 100000"}, math.inf, math.inf),
        # A service of systemd: its slice has the limit.
        (
            "0::/a.slice/b.service\n",
            {"a.slice/memory.max": str(GIB), "a.slice/b.service/memory.max": "max"},
            GIB,
            math.inf,
        ),
        # The host's path, of which the root alone is mounted.
        ("0::/docker/1f\n", {"memory.max": str(2 * GIB)}, 2 * GIB, math.inf),
        (
            "5:memory:/docker/1f\n3:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n",
            {
                "memory/memory.limit_in_bytes": UNLIMITED,
                "memory/docker/1f/memory.limit_in_bytes": str(GIB),
                "cpu/cpu.cfs_quota_us": "400000",
                "cpu/cpu.cfs_period_us": "100000",
            },
            GIB,
            4.0,
        ),
        (
            "3:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            math.inf,
            math.inf,
        ),
    ],
)
def test_limits(root: Path, own: str, files: dict[str, str], memory: float, cores: float) -> None:
    lay(root, own, **files)
    assert (cgroups.memory_limit(), cgroups.core_limit()) == (memory, cores)


def test_without_control_groups() -> None:
    assert (cgroups.memory_limit(), cgroups.core_limit()) == (math.inf, math.inf)
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_what_this_process_may_use(root: Path) -> None:
    lay(root, "0::/\n", **{"memory.max": str(GIB // 2), "cpu.max": "20000 100000"})
    assert usable_memory() == GIB // 2
    assert usable_cores() == 1
    lay(root, "0::/\n", **{"memory.max": UNLIMITED})
    assert GIB // 2 < usable_memory() < 2**50
