"""One row of 80 columns through the application, without HTTP, and what its pieces take: seconds of
the thread, the median of many calls, beside FastAPI's own echo of the same row.

Pieces by themselves are quicker than within a request, where the model's weights have just driven
everything else from the cache: the difference is the last line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from starlette.types import Message

from app.main import create_app
from app.predictions import answers, service
from app.predictions.predictors import Predictors
from app.predictions.rows import load_json
from app.registry.names import ModelNames
from app.resources import Resources
from app.settings import Settings
from app.storage.tables import LOCAL_TENANT
from benchmarks.serving import echo, house, trained

WARM_UP = 300


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="foldhouse-") as folder:
        models = trained(folder)
        app = create_app(Settings(data_dir=Path(folder)))
        logging.disable(logging.INFO)
        asyncio.run(_measure(app, models, given.requests))


async def _measure(app: FastAPI, models: dict[str, str], requests: int) -> None:
    body = json.dumps({"rows": [house()]}).encode()
    print("| µs | " + " | ".join(models) + " |")
    print("| --- " + "| ---: " * len(models) + "|")
    async with app.router.lifespan_context(app):
        resources: Resources = app.state.resources
        bare = await _asked(echo, "/coroutine", body, requests)
        found = {}
        for name, model in models.items():
            whole = await _asked(app, f"/v1/models/{model}/predict", body, requests)
            pieces = _pieces(resources, model, body, requests)
            found[name] = {
                "FastAPI's echo of the row": bare,
                "the whole request": whole,
                **pieces,
                "all else: guards, counts, and a cold cache": whole - sum(pieces.values()),
            }
    for line in next(iter(found.values())):
        print(f"| {line} | " + " | ".join(f"{each[line]:.0f}" for each in found.values()) + " |")


async def _asked(app: Any, path: str, body: bytes, requests: int) -> float:
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "root_path": ""}
    scope |= {"headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000)}

    async def request() -> None:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await app(dict(scope), receive, send)
        assert sent[0]["status"] == 200, sent

    return await _median(request, requests)


async def _median(call: Callable[[], Awaitable[None]], times: int) -> float:
    seconds = []
    for _ in range(WARM_UP + times):
        began = time.thread_time()
        await call()
        seconds.append(time.thread_time() - began)
    return 1e6 * float(np.median(seconds[WARM_UP:]))


def _pieces(resources: Resources, model: str, body: bytes, times: int) -> dict[str, float]:
    row = resources[ModelNames].resolve(LOCAL_TENANT, model)
    predictor = resources[Predictors].get(row)
    loaded = service.Loaded(row, predictor, model)
    rows = json.loads(body)["rows"]
    given = predictor.given([*rows[0]])
    encoded = predictor.encoded(rows, given)
    outputs = predictor.run(encoded.numbers, encoded.codes)
    found = predictor.answered(encoded, given, outputs)
    head = answers.json_head(service.facts_of(loaded, found))
    steps: dict[str, Callable[[], object]] = {
        "reading JSON": lambda: load_json(body, resources.settings),
        "encoding": lambda: predictor.encoded(rows, given),
        "the graph": lambda: predictor.run(encoded.numbers, encoded.codes),
        "interval and outliers": lambda: predictor.answered(encoded, given, outputs),
        "writing JSON": lambda: answers.json_whole(head, predictor.columns, found),
        "counting": lambda: service.count_rows(resources, LOCAL_TENANT, loaded, found),
    }
    return {name: _median_of(step, times) for name, step in steps.items()}


def _median_of(step: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        began = time.thread_time()
        step()
        seconds.append(time.thread_time() - began)
    return 1e6 * float(np.median(seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
