"""What several API processes count together.

Each holds a place: the files that it counts in, which are mapped into its memory. Whichever process
is scraped adds up all files. The successor of a process that died takes its place and goes on
counting there, so that nothing is lost, and the files do not become more.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from ulid import ULID

from app.storage.scratch import abandoned, is_free, scratch_folder

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # in the environment: where prometheus_client counts
PREFIX = "metrics_"
KINDS = ("counter", "histogram")
# Reserved for each file, because a process that writes to a page for which the disk has no room is
# killed by SIGBUS. A hundred routes take half of it.
RESERVED_BYTES = 1024 * 1024


@contextmanager
def shared_folder(root: Path, processes: int) -> Iterator[Path]:
    """A folder with places for `processes`, for one run of the service."""
    for folder in abandoned(root, f"{PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
    with scratch_folder(root, f"{PREFIX}{ULID()}") as folder:
        for place in range(processes):
            for kind in KINDS:
                with (folder / f"{kind}_{place}.db").open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, RESERVED_BYTES)
        yield folder


def join(folder: Path) -> None:
    """Count in a free place of the folder from now on."""
    place = _take_place(folder)
    os.environ[FOLDER] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: place)


def counted(own: CollectorRegistry) -> Collector:
    """What all processes have counted together; what this one has, if it counts alone."""
    return MultiProcessCollector(None) if FOLDER in os.environ else own


def processes() -> list[int]:
    """The ids of the processes that count together, or of this one. Some may just have died."""
    if FOLDER not in os.environ:
        return [os.getpid()]
    written = [path.read_text() for path in Path(os.environ[FOLDER]).glob("*.lock")]
    return [int(text) for text in written if text]


def _take_place(folder: Path) -> int:
    """The first place that no living process has. This one holds its lock to the end."""
    for place in count():
        descriptor = os.open(folder / f"{place}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        if is_free(descriptor):
            os.pwrite(descriptor, f"{os.getpid():<10}".encode(), 0)  # over a predecessor's
            return place
        os.close(descriptor)
    raise AssertionError
