"""Many small hostile requests at a time, to a model of 1,999 columns, in little memory."""

from __future__ import annotations

import json
import resource
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pytest
from hostile import ANSWER_SECONDS, CSV, JSON, MIB, assert_lives
from stack import SHORT, Stack, embedded, running

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(300)]

ADDRESSES = 1536 * MIB  # that the process may have
MOST_ANSWERED = 32 * MIB
MOST_SENT = 64 * 1024
CLIENTS = 8
PATIENCE = 120.0  # s for one answer: others wait in front of it

COLUMNS = 1_999
TRAINED_ROWS = 40
# A warning names its column twice: the first columns' names make answers long.
LONG_NAMES = [f"{'long' * 50}{place}" for place in range(25)]
NAMES = [*LONG_NAMES, *(f"x{place}" for place in range(COLUMNS - len(LONG_NAMES)))]
SHORT_NAME = NAMES[-1]


class Sent(NamedTuple):
    """What a request is made of."""

    path: str
    body: bytes
    headers: dict[str, str]


def as_json(path: str, document: object) -> Sent:
    return Sent(path, json.dumps(document, separators=(",", ":")).encode(), JSON)


def binary(datatype: str, rows: int, cells: bytes) -> Sent:
    """A tensor of one column."""
    tensor = {"name": SHORT_NAME, "shape": [rows], "datatype": datatype}
    parameters = {"binary_data_size": len(cells)}
    head = json.dumps({"inputs": [{**tensor, "parameters": parameters}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return Sent(INFER, head + cells, headers)


PREDICT, SCORE, INFER = "/v1/predict", "/invocations", "/v2/models/champion/infer"
WHOLE = dict.fromkeys(NAMES, 1)
LONG = dict.fromkeys(LONG_NAMES, 1)
EMPTY = 4_000  # rows

BODIES = {
    "60,000 rows in a tensor": binary("INT8", 60_000, bytes(60_000)),
    "5,000 rows in a tensor": binary("INT8", 5_000, bytes(5_000)),
    "15,000 empty texts in a tensor": binary("BYTES", 15_000, bytes(60_000)),
    "a tensor that breaks off": binary("BYTES", 1, b"\xff" * 60_000),
    "700 tensors": as_json(
        INFER,
        {
            "inputs": [
                {"name": name, "shape": [1], "datatype": "FP64", "data": [1]}
                for name in NAMES[-700:]
            ]
        },
    ),
    "a CSV of tiny rows": Sent(PREDICT, f"{SHORT_NAME}\n".encode() + b"1\n" * 5_000, CSV),
    "a CSV of rows without cells": Sent(
        PREDICT, ",".join(LONG_NAMES).encode() + (b"\n" + b"," * 24) * 2_000 + b"\n", CSV
    ),
    "empty rows behind a short one": as_json(PREDICT, {"rows": [{SHORT_NAME: 1}, *([{}] * EMPTY)]}),
    "empty rows behind a long one": as_json(PREDICT, {"rows": [LONG, *([{}] * EMPTY)]}),
    "empty rows alone": as_json(PREDICT, {"rows": [{}] * 20_000}),
    "empty rows with all columns": as_json(PREDICT, {"rows": [WHOLE, *([{}] * 1_000)]}),
    "an explanation": as_json(f"{PREDICT}?explain=true", {"rows": [WHOLE]}),
    "more explanations than there can be": as_json(
        f"{PREDICT}?explain=true", {"rows": [{SHORT_NAME: 1}] * 2_000}
    ),
    "MLflow's empty rows": as_json(SCORE, {"inputs": [LONG, *([{}] * EMPTY)]}),
    "MLflow's columns": as_json(SCORE, {"inputs": {SHORT_NAME: [None] * 5_000}}),
    "MLflow's split": as_json(
        SCORE, {"dataframe_split": {"columns": NAMES, "data": [[1] * COLUMNS] * 8}}
    ),
    "deep lists": Sent(PREDICT, b"[" * 60_000, JSON),
    "deep objects": Sent(SCORE, b'{"inputs":' * 6_000, JSON),
    "many names": as_json(PREDICT, {"rows": [{f"n{place}": 1 for place in range(6_000)}]}),
    "a name that stands often": Sent(
        PREDICT, b'{"rows":[{' + b'"a":1,' * 10_000 + b'"a":1}]}', JSON
    ),
}


@pytest.fixture
def little(tmp_path: Path) -> Iterator[Stack]:
    """A stack whose API has little memory and a model of 1,999 columns."""
    with running(embedded(tmp_path)) as stack:
        stack.upload(table())
        with stack.worker():
            done = stack.wait(stack.submit(SHORT | {"max_epochs": 1}), "succeeded", "failed")
        assert done["status"] == "succeeded", done["error"]
        resource.prlimit(stack.api.pid, resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
        yield stack


def table() -> str:
    numbers = np.random.default_rng(0).normal(size=(TRAINED_ROWS, COLUMNS + 1)).round(3)
    lines = [",".join([*NAMES, "price"]), *(",".join(map(str, row)) for row in numbers.tolist())]
    return "\n".join([*lines, ""])


def answered(stack: Stack, name: str) -> tuple[str, int, int]:
    """The status of the answer to a body, and its bytes, which are not kept."""
    sent = BODIES[name]
    assert len(sent.body) <= MOST_SENT, name
    size = 0
    with stack.http.stream(
        "POST", sent.path, content=sent.body, headers=sent.headers, timeout=PATIENCE
    ) as answer:
        for part in answer.iter_raw():
            size += len(part)
    return name, answer.status_code, size


def test_small_requests_neither_fill_the_memory_nor_stop_the_service(little: Stack) -> None:
    """Each is answered or refused, none at length; `/healthz` answers throughout."""
    over = threading.Event()
    health: list[int] = []

    def watch() -> None:
        with httpx.Client(base_url=little.http.base_url, timeout=ANSWER_SECONDS) as http:
            while not over.wait(0.05):
                health.append(http.get("/healthz").status_code)

    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        watching = pool.submit(watch)
        try:
            answers = list(pool.map(lambda name: answered(little, name), BODIES))
        finally:
            over.set()
        watching.result()

    assert set(health) == {200}
    assert_lives(little)
    assert [answer for answer in answers if answer[1] not in (200, 400, 413, 422, 503)] == []
    assert [answer for answer in answers if answer[2] > MOST_ANSWERED] == []
    by_name = {name: status for name, status, _ in answers}
    assert by_name["an explanation"] == by_name["MLflow's split"] == 200
    assert by_name["empty rows behind a long one"] == 413
