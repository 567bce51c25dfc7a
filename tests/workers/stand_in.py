"""A child that does what the test asks, in place of `workers.training.attempt`."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


def behave(behaviour: str, supervisor: socket.socket, reports: Connection) -> None:
    def report(kind: str, **fields: Any) -> None:
        os.write(reports.fileno(), json.dumps({"kind": kind, **fields}).encode() + b"\n")

    def progress(number: int) -> None:
        row = {
            "fold": 0,
            "epoch": number,
            "train_loss": 1.0 / number,
            "validation_loss": None,
            "learning_rate": 0.001,
            "gradient_norm": 2.0 / number,
            "dead_units": 0.25,
            "saturated_units": None,
        }
        report("progressed", progress={"epoch": number}, epochs=[row])

    _, _lock, _, _ = socket.recv_fds(supervisor, 1, 1)
    orders = supervisor.makefile("r")
    order = json.loads(Path(orders.readline().strip()).read_text())
    os.write(1, b"libraries print to standard output\n")

    if behaviour == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    progress(1)
    if behaviour == "succeed":
        path = Path(order["workdir"]) / "core.onnx"
        path.write_bytes(b"a model")
        fold = {
            "fold": 0,
            "rows_train": 8,
            "rows_validation": 2,
            "epochs": 2,
            "stopped_by": "max_epochs",
            "metrics": {"rmse": 1.0},
        }
        progress(2)
        result = {"metrics": {"rmse": 1.0}, "folds": [fold]}
        report("succeeded", result=result, artifacts={"core.onnx": str(path)})
    elif behaviour == "succeed-without-file":
        report("succeeded", result={}, artifacts={"core.onnx": f"{order['workdir']}/none"})
    elif behaviour == "fail":
        report("failed", detail="The loss was not finite: lower learning_rate.")
    elif behaviour == "crash":
        os.write(reports.fileno(), b'{"kind": "progr')
        sys.exit(3)
    elif behaviour == "out-of-memory":
        os.kill(os.getpid(), signal.SIGKILL)
    elif behaviour == "obey":
        asked = next(one for line in orders if (one := json.loads(line))["kind"] == "stop")
        report("stopped", reason=asked["reason"])
    while True:
        time.sleep(60)
