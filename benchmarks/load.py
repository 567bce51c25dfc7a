"""Clients that submit all at once, without a worker; then clients that submit, list and poll
while a worker trains: seconds of each request.

By default a service of its own, on SQLite. `--url` names another, which is left with hundreds of
short jobs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np

from benchmarks.houses import AMES

FOLDHOUSE = Path(sys.executable).parent / "foldhouse"
SPEC = {
    "dataset_id": "latest",
    "target": "SalePrice",
    "architecture": {"type": "linear"},
    "k_folds": 2,
    "max_epochs": 3,
}
BURSTS = 6
BURST_SECONDS = 1.0  # between two of them
THINK_SECONDS = 2.0  # between two rounds of one client
QUANTILES = (0.5, 0.9, 0.99, 1.0)

Seconds = dict[str, list[float]]


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="of a running service")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args(arguments)
    with nullcontext(given.url) if given.url else new_service("api") as url:
        upload(url)
        for _ in range(BURSTS):
            time.sleep(BURST_SECONDS)
            seconds = asyncio.run(burst(url, given.clients))
            median, tail = np.quantile(seconds, (0.5, 0.99))
            print(f"{given.clients} submits at once: median {median:.3f} s, 99 % {tail:.3f} s")
    with nullcontext(given.url) if given.url else new_service("serve") as url:
        upload(url)
        ask(url, given.clients, given.seconds)


@contextmanager
def new_service(command: str) -> Iterator[str]:
    """The address of `foldhouse COMMAND` in a scratch folder."""
    with tempfile.TemporaryDirectory(prefix="foldhouse-") as folder:
        with service(command, folder) as url:
            yield url


@contextmanager
def service(command: str, folder: str) -> Iterator[str]:
    """The address of `foldhouse COMMAND` on the data in a folder."""
    settings = {"FOLDHOUSE_MAX_QUEUED_JOBS": "100000", "FOLDHOUSE_DATA_DIR": folder}
    environment = {**os.environ, **settings}
    subprocess.run([FOLDHOUSE, "migrate"], env=environment, check=True, capture_output=True)
    process = subprocess.Popen(
        [FOLDHOUSE, command, "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        ready = re.search(r"http://[\d.:]+", process.stdout.readline())
        assert ready, "the service did not start"
        yield ready.group()
    finally:
        process.terminate()
        process.wait()


def upload(url: str) -> None:
    with httpx.Client(base_url=url, timeout=60) as http, AMES.open("rb") as table:
        http.post("/v1/datasets", files={"file": table}).raise_for_status()


async def burst(url: str, clients: int) -> list[float]:
    """Seconds of submits that are sent in one moment over connections that are open already; in
    one thread, which takes little of the cores that the service has."""
    address = urlsplit(url)
    body = json.dumps(SPEC).encode()
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    open_ones = [
        await asyncio.open_connection(address.hostname, address.port) for _ in range(clients)
    ]

    async def submit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
        began = time.perf_counter()
        writer.write(head.encode() + body)
        answer = await reader.read()
        seconds = time.perf_counter() - began
        assert answer.startswith(b"HTTP/1.1 202"), answer
        writer.close()
        return seconds

    return await asyncio.gather(*(submit(*streams) for streams in open_ones))


def ask(url: str, clients: int, duration: float) -> None:
    until = time.monotonic() + duration
    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client, url, place / clients, until) for place in range(clients)]
        results = [one.result() for one in running]
    statuses = sum((own for _, own in results), Counter[int]())
    print(f"{clients} clients, {duration:g} s, statuses {dict(statuses)}\n")
    print("| s | requests | median | 90 % | 99 % | most |")
    print("| --- " + "| ---: " * 5 + "|")
    for request in results[0][0]:
        seconds = [second for own, _ in results for second in own[request]]
        row = " | ".join(f"{quantile:.3f}" for quantile in np.quantile(seconds, QUANTILES))
        print(f"| {request} | {len(seconds)} | {row} |")


def client(url: str, phase: float, until: float) -> tuple[Seconds, Counter[int]]:
    """Seconds of each kind of request, and how often each status came."""
    statuses: Counter[int] = Counter()
    seconds: Seconds = {"submit": [], "list": [], "poll": []}
    with httpx.Client(base_url=url, timeout=60) as http:

        def timed(kind: str, method: str, path: str, **request: object) -> None:
            began = time.perf_counter()
            answer = http.request(method, path, **request)  # type: ignore[arg-type]
            seconds[kind].append(time.perf_counter() - began)
            statuses[answer.status_code] += 1

        time.sleep(THINK_SECONDS * phase)
        while time.monotonic() < until:
            timed("submit", "POST", "/v1/jobs", json=SPEC)
            timed("list", "GET", "/v1/jobs?limit=20")
            timed("poll", "GET", "/v1/jobs/latest")
            time.sleep(THINK_SECONDS)
    return seconds, statuses


if __name__ == "__main__":
    main(sys.argv[1:])
