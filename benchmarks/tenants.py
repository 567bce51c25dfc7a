"""Five tenants of ten clients each, one of which submits hundreds of jobs: how long the others wait
for their first start. And whether a quota holds when ten clients submit at once.

The service is one API and two workers on PostgreSQL and a Redis of its own; the quota is tried on
SQLite too. PostgreSQL must answer at 127.0.0.1:5432, and `redis-server` be installed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psycopg

from benchmarks.houses import AMES
from benchmarks.load import FOLDHOUSE, SPEC

POSTGRES = "127.0.0.1:5432"
CROWD, *OTHERS = "abcde"  # tenants
CLIENTS = 10  # of each tenant
WORKERS = 2
ROWS = 300  # of the table
COLUMNS = ("LotArea", "OverallQual", "YearBuilt", "GrLivArea", str(SPEC["target"]))
QUOTA = 20  # jobs
START_SECONDS = 60.0
POLL_SECONDS = 0.5

Environment = dict[str, str]


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500, help="of the tenant that submits many")
    given = parser.parse_args(arguments)
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="foldhouse-")))
        servers = {
            "FOLDHOUSE_DATABASE_URL": cleanup.enter_context(postgres()),
            "FOLDHOUSE_BROKER_URL": cleanup.enter_context(redis(folder)),
        }
        with service(folder / "servers", servers, WORKERS) as (url, environment):
            keys = {tenant: key_of(tenant, environment) for tenant in (CROWD, *OTHERS)}
            turns(url, keys, given.jobs)
        with service(folder / "quota", servers, 0) as (url, environment):
            admin = key_of("local", environment, role="admin")
            quota("PostgreSQL", url, key_of("f", environment), admin)
        with service(folder / "sqlite", {}, 0) as (url, environment):
            admin = key_of("local", environment, role="admin")
            quota("SQLite", url, key_of("f", environment), admin)


def turns(url: str, keys: dict[str, str], jobs: int) -> None:
    """Prints, for each tenant that submits little, how long its first start took."""
    for key in keys.values():
        upload(url, key)
    submit(url, keys[CROWD], jobs)
    submitted = {tenant: time.time() for tenant in OTHERS}
    with ThreadPoolExecutor(len(OTHERS)) as pool:
        list(pool.map(lambda tenant: submit(url, keys[tenant], CLIENTS), OTHERS))
    while any(
        job["status"] in ("queued", "running")
        for tenant in OTHERS
        for job in listed(url, keys[tenant])
    ):
        time.sleep(POLL_SECONDS)
    found = {tenant: listed(url, keys[tenant]) for tenant in OTHERS}
    lengths = [
        seconds(job["finished_at"]) - seconds(job["started_at"])
        for jobs_of_one in found.values()
        for job in jobs_of_one
    ]
    ended = Counter(job["status"] for jobs_of_one in found.values() for job in jobs_of_one)
    waiting = sum(job["status"] == "queued" for job in listed(url, keys[CROWD]))
    print(f"{jobs} jobs of {CROWD}, of which {waiting} or more waited in the end")
    print(f"{CLIENTS} jobs of each other tenant: {dict(ended)}")
    print(f"a job: median {np.median(lengths):.2f} s, at most {max(lengths):.2f} s\n")
    print("| tenant | to its first start, s | to its last start, s |\n| --- | ---: | ---: |")
    for tenant, own in found.items():
        starts = [seconds(job["started_at"]) - submitted[tenant] for job in own]
        print(f"| {tenant} | {min(starts):.2f} | {max(starts):.2f} |")


def quota(database: str, url: str, key: str, admin: str) -> None:
    """Without a worker, so that nothing leaves the queue."""
    with httpx.Client(base_url=url, headers=bearer(admin)) as http:
        http.put("/v1/quotas/f", json={"queued_jobs": QUOTA}).raise_for_status()
    upload(url, key)
    answers = submit(url, key, 2 * QUOTA)
    print(f"{database}: a quota of {QUOTA}, {2 * QUOTA} submits at once: {dict(answers)}")


def submit(url: str, key: str, jobs: int) -> Counter[int]:
    """By ten clients at once; how often each status came."""

    def client(own: int) -> list[int]:
        with httpx.Client(base_url=url, headers=bearer(key), timeout=60) as http:
            return [http.post("/v1/jobs", json=SPEC).status_code for _ in range(own)]

    with ThreadPoolExecutor(CLIENTS) as pool:
        parts = pool.map(client, [jobs // CLIENTS] * CLIENTS)
        return Counter(status for part in parts for status in part)


def upload(url: str, key: str) -> None:
    table = pd.read_csv(AMES, usecols=COLUMNS, nrows=ROWS).to_csv(index=False)
    answer = httpx.post(
        f"{url}/v1/datasets", files={"file": table.encode()}, headers=bearer(key), timeout=60
    )
    answer.raise_for_status()


def listed(url: str, key: str) -> list[dict[str, Any]]:
    """The newest 200 jobs."""
    answer = httpx.get(f"{url}/v1/jobs?limit=200", headers=bearer(key), timeout=60)
    found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
    return found


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def key_of(tenant: str, environment: Environment, role: str = "editor") -> str:
    """A new key of the tenant."""
    command = [FOLDHOUSE, "keys", "create", tenant, "--tenant", tenant, "--role", role, "--json"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    return str(json.loads(done.stdout)["secret"])


@contextmanager
def service(folder: Path, settings: Environment, workers: int) -> Iterator[tuple[str, Environment]]:
    """The address of an API with workers, and the environment of their commands."""
    environment = {**os.environ, "FOLDHOUSE_DATA_DIR": str(folder), **settings}
    subprocess.run([FOLDHOUSE, "migrate"], env=environment, check=True, capture_output=True)
    with ExitStack() as cleanup:
        api = subprocess.Popen(
            [FOLDHOUSE, "api", "--port", "0"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        cleanup.callback(end, api)
        assert api.stdout is not None
        ready = re.search(r"http://[\d.:]+", api.stdout.readline())
        assert ready, "the service did not start"
        for _ in range(workers):
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            worker = subprocess.Popen([FOLDHOUSE, "worker"], env=environment, **quiet)
            cleanup.callback(end, worker)
        until = time.monotonic() + START_SECONDS
        while httpx.get(f"{ready.group()}/readyz").json()["workers"] < workers:
            assert time.monotonic() < until, "the workers did not start"
            time.sleep(POLL_SECONDS)
        yield ready.group(), environment


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a new database, which is dropped at the end."""
    name = f"foldhouse_benchmark_{uuid.uuid4().hex}"

    def execute(statement: str) -> None:
        with psycopg.connect(f"postgresql://{POSTGRES}/postgres", autocommit=True) as server:
            server.execute(statement.encode())

    execute(f"CREATE DATABASE {name}")
    try:
        yield f"postgresql+psycopg://{POSTGRES}/{name}"
    finally:
        execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = f"--port {port} --bind 127.0.0.1 --appendonly yes --dir {folder}".split()
    server = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        end(server)


def end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    process.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
