"""Clients that submit, list and poll a running service at once: seconds of a submit.

    foldhouse serve --data-dir scratch &
    python -m benchmarks load http://127.0.0.1:8000

Uploads the example table, and leaves hundreds of short jobs behind: give it a scratch service.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np

from benchmarks.houses import AMES

SPEC = {
    "dataset_id": "latest",
    "target": "SalePrice",
    "architecture": {"type": "linear"},
    "k_folds": 2,
    "max_epochs": 3,
}
THINK_SECONDS = 2.0  # between two rounds of one client
QUANTILES = (0.5, 0.9, 0.99, 1.0)

Seconds = dict[str, list[float]]


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="of a running service")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args(arguments)
    with httpx.Client(base_url=given.url, timeout=60) as http:
        with AMES.open("rb") as table:
            http.post("/v1/datasets", files={"file": table}).raise_for_status()
    until = time.monotonic() + given.seconds
    with ThreadPoolExecutor(given.clients) as pool:
        running = [
            pool.submit(client, given.url, place / given.clients, until)
            for place in range(given.clients)
        ]
        results = [one.result() for one in running]
    statuses = sum((own for _, own in results), Counter[int]())
    print(f"{given.clients} clients, {given.seconds:g} s, statuses {dict(statuses)}\n")
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
