"""A row priced over HTTP, against an endpoint that only sends it back: requests a second; and a
long CSV, against pandas reading it.

Both services run under uvicorn with the same settings in processes of their own, and take turns.
The rival is bare FastAPI: an endpoint that is a coroutine, and one that is a function, which
FastAPI runs in a thread.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import io
import json
import multiprocessing
import re
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import uvicorn
from fastapi import FastAPI
from foldhouse_client import Foldhouse

from benchmarks.houses import AMES
from benchmarks.load import service
from benchmarks.measurement import best_seconds

SPECS: dict[str, dict[str, Any]] = {
    "default spec": {},
    "[256, 64], one a fold": {"architecture": {"type": "mlp", "hidden_sizes": [256, 64]}},
}
TARGET = "SalePrice"
CLIENTS = (1, 8, 32)
WARM_UP = 300  # requests
LONG = 100_000  # rows
ROUNDS = 3
Rate = tuple[float, float]  # requests a second, and the 99th percentile of their seconds

echo = FastAPI()


@echo.post("/coroutine")
async def _coroutine(body: dict[str, Any]) -> dict[str, Any]:
    return body


@echo.post("/function")
def _function(body: dict[str, Any]) -> dict[str, Any]:
    return body


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="foldhouse-") as folder:
        models = trained(folder)
        body = json.dumps({"rows": [house()]}).encode()
        with service("api", folder) as url, _rival() as rival:
            port = urlsplit(url).port
            assert port is not None
            _ask(rival, "/coroutine", body, 1, WARM_UP)
            print("| model | clients | a second | of a coroutine | of a function | p99, times |")
            print("| --- " + "| ---: " * 5 + "|")
            for name, model in models.items():
                _ask(port, f"/v1/models/{model}/predict", body, 1, WARM_UP)  # loads it
                for clients in CLIENTS:
                    rate, tail = _ask(
                        port, f"/v1/models/{model}/predict", body, clients, given.requests
                    )
                    bare = _ask(rival, "/coroutine", body, clients, given.requests)
                    threaded = _ask(rival, "/function", body, clients, given.requests)
                    print(
                        f"| {name} | {clients} | {rate:.0f} | {rate / bare[0]:.2f} "
                        f"| {rate / threaded[0]:.2f} "
                        f"| {tail / bare[1]:.1f}, {tail / threaded[1]:.1f} |",
                        flush=True,
                    )
            table = _table()
            reading = best_seconds(lambda: pd.read_csv(io.BytesIO(table)), ROUNDS)
            print(f"\n| {LONG:,} rows as CSV | s | of pandas.read_csv |\n| --- | ---: | ---: |")
            for name, model in models.items():
                address = f"{url}/v1/models/{model}/predict"
                seconds = best_seconds(lambda to=address: _price(to, table), ROUNDS)
                print(f"| {name} | {seconds:.2f} | {seconds / reading:.1f} × |", flush=True)


def trained(folder: str) -> dict[str, str]:
    """The id of a model of each spec."""
    with service("serve", folder) as url:
        client = Foldhouse(url)
        client.upload(AMES)
        jobs = {
            name: client.submit({"dataset_id": "latest", "target": TARGET, **spec})["id"]
            for name, spec in SPECS.items()
        }
        return {name: client.wait(job)["result"]["model_id"] for name, job in jobs.items()}


def house() -> dict[str, Any]:
    """One of 80 columns."""
    with AMES.open() as file:
        row = next(csv.DictReader(file))
    return {name: _cell(text) for name, text in row.items() if name != TARGET}


def _table() -> bytes:
    """The houses again and again."""
    header, *houses = AMES.read_bytes().splitlines(keepends=True)
    return header + b"".join(islice(cycle(houses), LONG))


def _price(address: str, table: bytes) -> None:
    request = Request(address, table, {"Content-Type": "text/csv"})
    with urlopen(request, timeout=600) as answer:
        assert answer.read().count(b"\n") == LONG + 1


def _cell(text: str) -> object:
    if text in ("", "NA"):
        return None
    return float(text) if re.fullmatch(r"[\d.]+", text) else text


@contextmanager
def _rival() -> Iterator[int]:
    """The port of the rival; who connects before it is ready waits in the socket's line."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.get_context("spawn").Process(target=_echo, args=(listener,))
        process.start()
        try:
            yield listener.getsockname()[1]
        finally:
            process.terminate()
            process.join()


def _echo(listener: socket.socket) -> None:
    config = uvicorn.Config(echo, http="h11", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


def _ask(port: int, path: str, body: bytes, clients: int, requests: int) -> Rate:
    with ThreadPoolExecutor(clients) as pool:
        began = time.perf_counter()
        share = requests // clients
        parts = pool.map(lambda _: _client(port, path, body, share), range(clients))
        seconds = [second for part in parts for second in part]
        return len(seconds) / (time.perf_counter() - began), float(np.quantile(seconds, 0.99))


def _client(port: int, path: str, body: bytes, requests: int) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    seconds = []
    for _ in range(requests):
        began = time.perf_counter()
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        seconds.append(time.perf_counter() - began)
    connection.close()
    return seconds


if __name__ == "__main__":
    main(sys.argv[1:])
