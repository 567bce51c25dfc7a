"""A job that many watch and the same job that nobody watches, in turns: the ratio of their seconds
of training, what the API's process takes, and the seconds from an event to its watchers.

The watchers are connections of one more process, whose work on the same cores counts too, so only
some of them look at what they get.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

import httpx
import numpy as np
from foldhouse_client import Foldhouse

from benchmarks.load import new_service, upload

SPEC = {
    "target": "SalePrice",
    "architecture": {"type": "mlp", "hidden_sizes": [256, 64]},
    "k_folds": 5,
    "early_stopping": None,
    "baselines": [],
}
LOOKING = 10  # watchers
CHUNK = 2**16  # bytes


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=60)
    given = parser.parse_args(arguments)
    spec = SPEC | {"max_epochs": given.epochs}
    ratios, shares, delays = [], [], []
    with new_service("serve") as url, Foldhouse(url) as client:
        upload(url)
        train(client, spec, 1)  # warms everything up
        memory = taken(url, "resident_memory_bytes")
        for _ in range(given.rounds):
            began = taken(url, "cpu_seconds_total")
            alone, _ = train(client, spec, 0)
            between = taken(url, "cpu_seconds_total")
            watched, own = train(client, spec, given.watchers)
            both = taken(url, "cpu_seconds_total")
            ratios.append(watched / alone)
            shares.append((both - between) / watched - (between - began) / alone)
            delays += own
        memory = taken(url, "resident_memory_bytes") - memory
    median, most = np.quantile(delays, (0.5, 1.0))
    print("| watchers | seconds of training | API, cores | API, MiB | event, median s | most |")
    print("| ---: " * 6 + "|")
    print(
        f"| {given.watchers} | × {statistics.median(ratios):.3f} | "
        f"{statistics.median(shares):+.3f} | {memory / 2**20:+.0f} | {median:.2f} | {most:.2f} |"
    )
    print(f"\nRatios by round: {', '.join(f'{ratio:.3f}' for ratio in ratios)}")


def train(client: Foldhouse, spec: dict[str, object], watchers: int) -> tuple[float, list[float]]:
    """The seconds of training, and those from each event to each watcher."""
    job_id = client.submit(spec)["id"]
    delays: list[float] = []
    follow = threading.Thread(
        target=lambda: delays.extend(asyncio.run(watch_all(client.url, job_id, watchers)))
    )
    follow.start()
    job = client.wait(job_id)
    follow.join()
    return float(job["result"]["seconds"]["train"]), delays


async def watch_all(url: str, job_id: str, watchers: int) -> list[float]:
    watching = (watch(url, job_id, looks=place < LOOKING) for place in range(watchers))
    return [delay for own in await asyncio.gather(*watching) for delay in own]


async def watch(url: str, job_id: str, *, looks: bool) -> list[float]:
    """The seconds of each event of epochs."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**20)
    head = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: {address.netloc}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode())
    delays: list[float] = []
    while not looks and await reader.read(CHUNK):
        pass
    async for line in reader:
        if line.startswith(b"data:") and b'"epochs":[' in line:
            at = datetime.fromisoformat(json.loads(line[5:])["at"])
            delays.append(time.time() - at.timestamp())
    writer.close()
    return delays


def taken(url: str, what: str) -> float:
    """By the API's process so far."""
    text = httpx.get(f"{url}/metrics").text
    found = re.search(rf"^process_{what} (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])
