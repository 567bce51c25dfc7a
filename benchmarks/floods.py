"""A row priced over HTTP while others send the worst bodies that are let in: the 99th percentile of
its seconds, as a multiple of what it is before and after.

The service, the clients that flood it and the one that asks for a row are processes of their own.
A row has 80 columns and the default model; floods ask that model, or one of 1,999 columns.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from foldhouse_client import Foldhouse

from benchmarks.houses import AMES
from benchmarks.load import service
from benchmarks.serving import TARGET, house

CLIENTS = 8
COLUMNS = 1_999  # of the wide model
WIDE_ROWS = 60  # it is trained on
EPOCHS = 2
JSON_BYTES = 4 * 1024 * 1024
CSV_BYTES = 16 * 1024 * 1024
CHUNK = 1024 * 1024
PATIENCE = 600.0  # s for one answer
PAUSE = 0.05  # s after an answer that refuses: a client that does not wait fills the socket alone

JSON = "application/json"
CSV = "text/csv"


@dataclass(frozen=True)
class Flood:
    """What each of the clients sends again and again."""

    path: str
    media_type: str
    body: bytes
    headers: dict[str, str]


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each flood")
    parser.add_argument("--only", default="", help="floods whose name has this text")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="foldhouse-") as folder:
        models = trained(folder)
        with service("api", folder) as url:
            compare(url, models, given.seconds, given.only)


def trained(folder: str) -> dict[str, str]:
    """The ids of the default model of the houses, and of the wide one."""
    wide = Path(folder) / "wide.csv"
    wide.write_bytes(wide_table())
    tables: dict[str, tuple[Path, dict[str, Any]]] = {
        "houses": (AMES, {}),
        "wide": (wide, {"architecture": {"type": "linear"}, "k_folds": 2}),
    }
    models = {}
    with service("serve", folder) as url:
        client = Foldhouse(url)
        for name, (table, spec) in tables.items():
            dataset = client.upload(table)
            job = client.submit(
                {"dataset_id": dataset["id"], "target": TARGET, "max_epochs": EPOCHS, **spec}
            )
            models[name] = client.wait(job["id"])["result"]["model_id"]
        # MLflow's clients ask the champion.
        client.promote(models["wide"], force=True)
    return models


def wide_table() -> bytes:
    """Columns x0 to x1998, and the target."""
    chance = np.random.default_rng(0)
    names = ",".join([*wide_names(), TARGET])
    rows = chance.normal(size=(WIDE_ROWS, COLUMNS + 1)).round(3)
    return "\n".join([names, *(",".join(map(str, row)) for row in rows.tolist()), ""]).encode()


def wide_names() -> list[str]:
    return [f"x{place}" for place in range(COLUMNS)]


def compare(url: str, models: dict[str, str], seconds: float, only: str) -> None:
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    row = json.dumps({"rows": [house()]}).encode()
    path = f"/v1/models/{models['houses']}/predict"
    ask(address.port, path, row, time.monotonic() + seconds / 2)  # loads the model
    print("| beside 8 clients that send | a row's 99 %, ms | of quiet | answers a second |")
    print("| --- | ---: | ---: | --- |")
    before = ask(address.port, path, row, time.monotonic() + seconds / 2)
    for name, flood in floods(models).items():
        if only not in name:
            continue
        with flooding(address.port, flood) as statuses:
            beside = ask(address.port, path, row, time.monotonic() + seconds)
        after = ask(address.port, path, row, time.monotonic() + seconds / 2)
        quiet = float(np.quantile(before + after, 0.99))
        tail = float(np.quantile(beside, 0.99))
        answers = ", ".join(
            f"{count / seconds:.1f} × {status}" for status, count in sorted(statuses.items())
        )
        print(f"| {name} | {1000 * tail:.1f} | {tail / quiet:.1f} × | {answers} |", flush=True)
        before = after


def floods(models: dict[str, str]) -> dict[str, Flood]:
    """The floods by what the table calls them."""
    narrow, wide = (f"/v1/models/{models[name]}/predict" for name in ("houses", "wide"))
    tensors = f"/v2/models/{models['houses']}/infer"
    names = wide_names()
    whole = dict.fromkeys(names, 0.5)
    cells = JSON_BYTES // 8

    def as_json(path: str, document: Any) -> Flood:
        return Flood(path, JSON, json.dumps(document, separators=(",", ":")).encode(), {})

    def as_csv(path: str, header: Sequence[str], line: str) -> Flood:
        lines = islice(cycle([line.encode() + b"\n"]), CSV_BYTES // (len(line) + 1))
        return Flood(path, CSV, ",".join(header).encode() + b"\n" + b"".join(lines), {})

    def binary(datatype: str, count: int, cells: bytes) -> Flood:
        parameters = {"binary_data_size": len(cells)}
        tensor = {"name": "LotArea", "shape": [count], "datatype": datatype}
        head = json.dumps({"inputs": [{**tensor, "parameters": parameters}]}).encode()
        own = {"Inference-Header-Content-Length": str(len(head))}
        return Flood(tensors, "application/octet-stream", head + cells, own)

    house_row = house()
    houses = JSON_BYTES // (len(json.dumps(house_row, separators=(",", ":"))) + 1)
    return {
        "JSON, houses": as_json(narrow, {"rows": [house_row] * (houses - 1)}),
        "JSON, short rows": as_json(narrow, {"rows": [{"LotArea": 1}] * 50_000}),
        "JSON, a row of many names": as_json(
            narrow, {"rows": [{"LotArea": 1, **{f"{n:x}": 1 for n in range(cells * 3 // 4)}}]}
        ),
        "JSON, empty rows, 1,999 columns": as_json(wide, {"rows": [whole] + [{}] * 9_000}),
        "JSON, one row, 1,999 columns": as_json(wide, {"rows": [whole]}),
        "explanations, 1,999 columns": as_json(f"{wide}?explain=true", {"rows": [whole]}),
        "CSV, 1,999 columns": as_csv(wide, names, ",".join(["0.5"] * COLUMNS)),
        "CSV of words, 1,999 columns": as_csv(wide, names, ",".join(["w"] * COLUMNS)),
        "CSV of one column": as_csv(narrow, ["LotArea"], "8"),
        "tensors of numbers": binary("FP64", 50_000, struct.pack("<d", 1.0) * 50_000),
        "tensors of empty texts": binary("BYTES", JSON_BYTES // 5, bytes(4) * (JSON_BYTES // 5)),
        "MLflow, split": as_json(
            "/invocations",
            {"dataframe_split": {"columns": names, "data": [[0.5] * COLUMNS] * (cells // 3_000)}},
        ),
        "uploads": as_csv("/v1/datasets", names, ",".join(["0.5"] * COLUMNS)),
    }


@contextmanager
def flooding(port: int, flood: Flood) -> Iterator[Counter[int]]:
    """Clients in a process of their own, each sending again when it has an answer; the statuses of
    the answers are there once it is over."""
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    process = context.Process(target=send_all, args=(far, port, flood))
    process.start()
    near.recv()  # all have begun
    statuses: Counter[int] = Counter()
    try:
        yield statuses
        near.send("stop")
        statuses.update(near.recv())
    finally:
        process.kill()
        process.join()


def send_all(pipe: Connection, port: int, flood: Flood) -> None:
    """Send until something comes through the pipe, and then the statuses."""
    statuses: Counter[int] = Counter()
    for _ in range(CLIENTS):
        threading.Thread(target=send, args=(port, flood, statuses), daemon=True).start()
    pipe.send("begun")
    pipe.recv()
    pipe.send(dict(statuses))


def send(port: int, flood: Flood, statuses: Counter[int]) -> None:
    headers = {"Content-Type": flood.media_type, **flood.headers}
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("POST", flood.path, flood.body, headers)
            answer = connection.getresponse()
            while answer.read(CHUNK):
                pass
            statuses[answer.status] += 1
            if answer.status >= 400:
                time.sleep(PAUSE)
        except ConnectionError:
            statuses[0] += 1
        finally:
            connection.close()


def ask(port: int, path: str, body: bytes, until: float) -> list[float]:
    """Seconds of one request after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    seconds = []
    while (began := time.monotonic()) < until:
        connection.request("POST", path, body, {"Content-Type": JSON})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        seconds.append(time.monotonic() - began)
    connection.close()
    return seconds
