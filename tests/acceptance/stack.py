"""An installation as an operator runs it: real processes of `foldhouse api` and `worker`."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from hosts import Host
from polling import free_port, wait_until
from sqlalchemy import select
from worker_process import FOLDHOUSE, START_SECONDS, WorkerProcess, environment

from app.settings import Settings
from app.storage.database import Database
from app.storage.migrate import upgrade
from app.storage.tables import FINISHED, Shard

HOUSES = 400
JOB_SECONDS = 120.0  # for two cores that other tests share

SHORT: dict[str, Any] = {"architecture": {"type": "linear"}, "k_folds": 2, "max_epochs": 3}
# Outlasts several checkpoints, which come every two seconds.
LONG: dict[str, Any] = {
    "architecture": {"type": "mlp", "hidden_sizes": [32]},
    "k_folds": 2,
    "batch_size": 16,
    "max_epochs": 700,
    "early_stopping": None,
}
ENDLESS = LONG | {"max_epochs": 10_000}

Json = dict[str, Any]


def houses(rows: int = HOUSES, seed: int = 0) -> str:
    """A CSV with the target `price`."""
    chance = random.Random(seed)
    lines = ["area,rooms,street,price"]
    for _ in range(rows):
        area, rooms = chance.randint(50, 250), chance.randint(1, 8)
        street = chance.choice(["Pave", "Grvl", "None"])
        price = 900 * area + 7000 * rooms + chance.gauss(0, 5000)
        lines.append(f"{area},{rooms},{street},{price:.0f}")
    return "\n".join(lines) + "\n"


class Stack:
    """One API process, and as many workers as a test starts; its settings name the rest.

    `http` talks to the API. `database` is for assertions on the rows themselves.
    host : the API's, if it is not this one
    """

    def __init__(self, settings: Settings, host: Host | None = None) -> None:
        self.settings = settings
        self.port = free_port()
        self._within = host.within if host else []
        self._address = host.address if host else "127.0.0.1"
        self.http = httpx.Client(base_url=f"http://{self._address}:{self.port}", timeout=30)
        self.database = Database(settings.resolved_database_url)
        self._api: subprocess.Popen[bytes] | None = None

    @property
    def on_redis(self) -> bool:
        return bool(self.settings.broker_url)

    @property
    def api(self) -> subprocess.Popen[bytes]:
        assert self._api is not None
        return self._api

    def start_api(self) -> None:
        """Start the API on this stack's port; ready when this returns."""
        root = self.settings.root
        root.mkdir(parents=True, exist_ok=True)
        with (root / "api.log").open("ab") as log:
            self._api = subprocess.Popen(
                [
                    *self._within,
                    FOLDHOUSE,
                    "api",
                    "--host",
                    self._address,
                    "--port",
                    str(self.port),
                ],
                env=environment(self.settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self.answers, START_SECONDS)

    def answers(self) -> bool:
        try:
            return self.http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def kill_api(self) -> None:
        """SIGKILL."""
        self.api.kill()
        self.api.wait()

    def worker(self, within: Sequence[str] = (), **other: Any) -> WorkerProcess:
        """A new worker; `other` settings than the stack's make it another machine's."""
        return WorkerProcess(self.settings.model_copy(update=other), within)

    def close(self) -> None:
        if self._api is not None:
            self.kill_api()
        self.http.close()
        self.database.close()

    # What a client does.

    def upload(self, csv: str | None = None) -> Json:
        answer = self.http.post(
            "/v1/datasets", content=csv or houses(), headers={"Content-Type": "text/csv"}
        )
        assert answer.status_code in (200, 201), answer.text
        found: Json = answer.json()
        return found

    def submit(self, spec: Json, key: str | None = None) -> str:
        answer = self.http.post(
            "/v1/jobs",
            json={"dataset_id": "latest", "target": "price", **spec},
            headers={"Idempotency-Key": key} if key else {},
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def submit_sweep(self, sweep: Json, key: str | None = None) -> str:
        answer = self.http.post(
            "/v1/sweeps",
            json={"dataset_id": "latest", "target": "price", **sweep},
            headers={"Idempotency-Key": key} if key else {},
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def sweep(self, sweep_id: str) -> Json:
        found: Json = self.http.get(f"/v1/sweeps/{sweep_id}").raise_for_status().json()
        return found

    def wait_for_sweep(self, sweep_id: str, seconds: float = 2 * JOB_SECONDS) -> Json:
        """The sweep, once it has ended."""
        wait_until(lambda: self.sweep(sweep_id)["status"] in FINISHED, seconds)
        return self.sweep(sweep_id)

    def trials(self, sweep_id: str) -> list[Json]:
        """The leaderboard."""
        answer = self.http.get(f"/v1/sweeps/{sweep_id}/trials").raise_for_status()
        found: list[Json] = answer.json()["data"]
        return found

    def job(self, job_id: str) -> Json:
        found: Json = self.http.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        return found

    def epoch(self, job_id: str) -> int:
        return int(self.job(job_id)["progress"]["epoch"])

    def wait(self, job_id: str, *statuses: str, seconds: float = JOB_SECONDS) -> Json:
        """The job, once it has one of these statuses."""
        wait_until(lambda: self.job(job_id)["status"] in statuses, seconds)
        return self.job(job_id)

    def cancel(self, job_id: str, *, keep_best: bool = False) -> httpx.Response:
        return self.http.post(f"/v1/jobs/{job_id}/cancel", json={"keep_best": keep_best})

    def shard(self, job_id: str) -> str:
        """The id that messages and checkpoints of the job go by."""
        with self.database.reading() as session:
            return session.scalars(select(Shard.id).where(Shard.job_id == job_id)).one()

    def checkpoints(self, shard: str = "*") -> list[str]:
        """Whole ones: their names do not begin with a dot."""
        folder = self.settings.root / "storage" / "checkpoints"
        return [str(path) for path in folder.glob(f"{shard}/[!.]*")]

    def price(self, model_id: str) -> float:
        """Of one house, by that model."""
        row = {"area": 120, "rooms": 4, "street": "Pave"}
        answer = self.http.post(f"/v1/models/{model_id}/predict", json={"rows": [row]})
        return float(answer.raise_for_status().json()["predictions"][0]["value"])


def embedded(folder: Path, **other: Any) -> Settings:
    """Of a stack on SQLite with the embedded broker; its database is there."""
    settings = Settings(
        data_dir=folder / "data",
        database_url=f"sqlite:///{folder / 'foldhouse.sqlite'}",
        broker_url="",
        device="cpu",
        **other,
    )
    upgrade(settings.resolved_database_url)
    return settings


@contextmanager
def running(settings: Settings) -> Iterator[Stack]:
    """A stack with its API started."""
    stack = Stack(settings)
    try:
        stack.start_api()
        yield stack
    finally:
        stack.close()


def resident_bytes(pid: int) -> int:
    """Memory of a process, pages of files included."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
