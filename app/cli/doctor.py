"""`foldhouse doctor`: finds what is wrong on this machine and says how to fix it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from app.cli.terminal import database_address, keep_private, load_settings, tell
from app.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

Check = Callable[[Settings], str]  # says what it found, or raises Trouble

TORCH_SECONDS = 60.0

REPORT_TORCH = """
import torch
gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
print(f"torch {torch.__version__}, " + (", ".join(gpus) or "no CUDA device"))
"""


class Trouble(Exception):
    """What is wrong, and what to do."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what, advice)
        self.what = what
        self.advice = advice


class Doubt(Trouble):
    """A weakness that does not stop the service."""


def doctor() -> None:
    """Check versions, data folder, database, storage, broker, device and workers."""
    keep_private()
    settings = load_settings()
    troubled: set[Check] = set()
    for check in CHECKS:
        if troubled & NEEDS.get(check, set()):
            continue
        name = check.__name__.replace("_", " ")
        try:
            tell(f"ok    {name:12} {check(settings)}")
        except Doubt as doubt:
            tell(f"warn  {name:12} {doubt.what}\n{'':18} → {doubt.advice}")
        except Trouble as trouble:
            troubled.add(check)
            tell(f"WRONG {name:12} {trouble.what}\n{'':18} → {trouble.advice}")
    raise typer.Exit(1 if troubled else 0)


def versions(settings: Settings) -> str:  # noqa: ARG001
    found = ", ".join(f"{name} {version(name)}" for name in ("foldhouse", "onnxruntime", "celery"))
    return f"{found}, Python {platform.python_version()}"


def data_folder(settings: Settings) -> str:
    root = settings.root
    if not root.is_dir():
        raise Trouble(
            f"{root} does not exist",
            "`foldhouse serve` and `foldhouse migrate` create it, or set FOLDHOUSE_DATA_DIR",
        )
    if not os.access(root, os.W_OK | os.X_OK):
        raise Trouble(f"{root} is not writable by this user", "change its owner or its mode")
    require_private(root)
    return f"{root}, {shutil.disk_usage(root).free / 1024**3:.1f} GiB free"


def require_private(folder: Path) -> None:
    if mode := folder.stat().st_mode & 0o077:
        others = "every user" if mode & 0o007 else "its group"
        raise Doubt(f"{folder} is open to {others} of this machine", f"chmod 700 {folder}")


def database(settings: Settings) -> str:
    from app.storage.migrate import lacking

    address = database_address(settings)
    with reading(settings) as session:
        if absent := lacking(session.connection()):
            raise Trouble(
                f"{address} does not have this version's tables: {absent[0]} is missing",
                "run `foldhouse migrate`",
            )
    return address


def storage(settings: Settings) -> str:
    from app.storage.blobs import Blobs

    url = settings.resolved_storage_url
    try:
        Blobs(url).check()
    except Exception as error:  # every object store raises its own
        raise Trouble(f"{url}: {error}", "fix it, or change FOLDHOUSE_STORAGE_URL") from error
    if settings.storage_url and Path(url).is_dir():
        require_private(Path(url))
    return url


def broker(settings: Settings) -> str:
    from app.queue.dispatch import Hints

    address = settings.broker_url or f"files under {settings.root / 'broker'}"
    hints = Hints(settings)
    try:
        hints.check()
    except Exception as error:  # every transport raises its own
        raise Trouble(
            f"{address}: {error}", "start Redis, or unset FOLDHOUSE_BROKER_URL to use files"
        ) from error
    finally:
        hints.close()
    return address


def device(settings: Settings) -> str:
    """The device that a worker would train on; torch is imported in a separate process."""
    if find_spec("torch") is None:
        return "torch is not installed: enough for `foldhouse api`, not for `foldhouse worker`"
    answer = subprocess.run(
        [sys.executable, "-c", REPORT_TORCH], capture_output=True, text=True, timeout=TORCH_SECONDS
    )
    if answer.returncode != 0:
        *_, reason = answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"]
        raise Trouble(f"torch cannot be imported: {reason}", "install the worker's packages again")
    found = answer.stdout.strip()
    if settings.device == "cuda" and found.endswith("no CUDA device"):
        raise Trouble(
            f"FOLDHOUSE_DEVICE is cuda, but: {found}",
            "install a driver and a CUDA build of torch, or set FOLDHOUSE_DEVICE=auto",
        )
    return found


def workers(settings: Settings) -> str:
    from sqlalchemy import select

    from app.operations.readiness import WORKER_SEEN
    from app.storage.database import database_now
    from app.storage.tables import Worker

    with reading(settings) as session:
        seen = session.scalars(select(Worker).where(Worker.seen_at > database_now(-WORKER_SEEN)))
        found = [f"{row.slots} × {row.device} on {row.hostname}" for row in seen]
    if not found:
        raise Trouble("none is running", "start `foldhouse serve`, or `foldhouse worker`")
    return ", ".join(found)


CHECKS: tuple[Check, ...] = (
    versions,
    data_folder,
    database,
    storage,
    broker,
    device,
    workers,
)
# Checks that cannot pass after another has failed, and would only repeat its message.
NEEDS: dict[Check, set[Check]] = {
    database: {data_folder},
    storage: {data_folder},
    broker: {data_folder},
    workers: {data_folder, database},
}


@contextmanager
def reading(settings: Settings) -> Iterator[Session]:
    from sqlalchemy.exc import SQLAlchemyError

    from app.storage.database import Database

    try:
        with closing(Database(settings.resolved_database_url)) as database:
            with database.reading() as session:
                yield session
    except SQLAlchemyError as error:
        raise Trouble(
            f"{database_address(settings)}: {str(error).splitlines()[0]}",
            "start the server or fix FOLDHOUSE_DATABASE_URL, then run `foldhouse migrate`",
        ) from error
