"""Real worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from polling import wait_until
from sqlalchemy import select

from app.operations.readiness import WORKER_SEEN
from app.settings import Settings
from app.storage.database import Database, database_now
from app.storage.tables import Worker

FOLDHOUSE = Path(sys.executable).parent / "foldhouse"
START_SECONDS = 30.0  # on an idle machine it takes one
# Of reading under /proc: the process ended before its file was opened, or after.
ENDED = (FileNotFoundError, ProcessLookupError)


def environment(settings: Settings) -> dict[str, str]:
    """This process's, with settings for a command."""
    given = settings.model_dump(mode="json", exclude_unset=True)
    return {**os.environ, **{f"FOLDHOUSE_{name.upper()}": str(given[name]) for name in given}}


class WorkerProcess:
    """`foldhouse worker`, killed at the end of the `with` block if it still runs.

    within : what begins its command, and ends as its process
    """

    def __init__(self, settings: Settings, within: Sequence[str] = ()) -> None:
        self._settings = settings
        self._log = settings.root / "worker.log"
        settings.root.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*within, FOLDHOUSE, "worker"],
                env=environment(settings),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self.close_input()

    def wait_until_ready(self) -> None:
        """Until it has registered, takes messages and has begun to import for its children."""
        wait_until(lambda: self.rows(), START_SECONDS)
        wait_until(lambda: "Connected to" in self.log(), START_SECONDS)
        wait_until(lambda: self.children(), START_SECONDS)

    def log(self) -> str:
        return self._log.read_text()

    def rows(self) -> list[Worker]:
        """Its row, while it is alive."""
        alive = Worker.seen_at > database_now(-WORKER_SEEN)
        database = Database(self._settings.resolved_database_url)
        with database.reading() as session:
            own = select(Worker).where(Worker.pid == self.process.pid, alive)
            rows = session.scalars(own).all()
        database.close()
        return list(rows)

    def children(self) -> list[int]:
        """Process ids of all that descend from it and live."""
        return [pid for pid in family(self.process.pid) if command_line(pid)]

    def child_of(self, job_id: str) -> int | None:
        """The process that trains the job."""
        title = f"workers.training.attempt {job_id}"
        return next((pid for pid in self.children() if title in command_line(pid)), None)

    def close_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def kill(self) -> None:
        """SIGKILL, also to its descendants."""
        children = self.children()
        self.process.kill()
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def family(pid: int) -> set[int]:
    """The processes that descend from `pid`, whichever of its threads has started them."""
    direct: set[int] = set()
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(*ENDED):
            direct.update(map(int, file.read_text().split()))
    return direct.union(*map(family, direct))


def alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except ENDED:
        return False


def command_line(pid: int) -> str:
    """As `ps` shows it; nothing for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except ENDED:
        return ""
