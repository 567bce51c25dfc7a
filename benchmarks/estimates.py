"""What `POST /v1/jobs:validate` says that a job takes, against what it takes.

A whole run, from the stored table to the files of a model, in a process of its own. Early stopping
is off: it makes a run shorter, and the estimate is that of all epochs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from benchmarks.houses import AMES, CORES, LIMITS, Table, stored
from benchmarks.measurement import measure
from benchmarks.scaling import made_up
from models import experiment
from models.epochs import FoldEpoch
from models.experiment import Progress, StopReason
from models.machine import core_rate
from models.planning.estimate import PROCESS_BYTES, Machine, estimate
from models.spec import TrainingSpec
from models.tables.table import read_table

MB = 1_000_000


def ames() -> pa.Table:
    return read_table(AMES, LIMITS).table


Cases = list[tuple[str, Callable[[], pa.Table], str, dict[str, Any]]]

CASES: Cases = [
    ("2,930 houses, default", ames, "SalePrice", {}),
    ("2,930 houses, linear", ames, "SalePrice", {"architecture": {"type": "linear"}}),
    (
        "2,930 houses, [256, 64], dropout",
        ames,
        "SalePrice",
        {"architecture": {"type": "mlp", "hidden_sizes": [256, 64]}, "dropout": 0.1},
    ),
    (
        "2,930 houses, resnet",
        ames,
        "SalePrice",
        {"architecture": {"type": "resnet"}, "max_epochs": 30},
    ),
    (
        "2,930 houses, realmlp",
        ames,
        "SalePrice",
        {"architecture": {"type": "realmlp"}, "max_epochs": 30, "batch_size": 256},
    ),
    (
        "2,930 houses, tabm",
        ames,
        "SalePrice",
        {"architecture": {"type": "tabm"}, "max_epochs": 5, "batch_size": 256},
    ),
    ("10,000 rows × 50, default", lambda: made_up(10_000, 50), "price", {"max_epochs": 10}),
    ("100,000 rows × 20, default", lambda: made_up(100_000, 20), "price", {"max_epochs": 5}),
]


def main(arguments: Sequence[str] = ()) -> None:
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    machine = Machine(CORES, core_rate())
    print("| | seconds | estimated | ratio | peak memory, MB | estimated, MB | ratio |")
    print("| --- " + "| ---: " * 6 + "|")
    for name, rows, target, given in CASES:
        with stored(rows(), target) as table:
            spec = table.resolve(**{"early_stopping": None, **given})
            measured = measure(run, table, spec)
            expected = estimate(spec, table.profile, machine)
        seconds, memory = measured.result, measured.memory_bytes
        estimated = expected.memory_bytes - PROCESS_BYTES
        print(
            f"| {name} | {seconds:.1f} | {expected.seconds:.1f} | "
            f"{expected.seconds / seconds:.2f} | {memory / MB:,.0f} | {estimated / MB:,.0f} | "
            f"{estimated / memory:.2f} |",
            flush=True,
        )


class Nobody:
    """Wants to know nothing of a run."""

    def report(self, progress: Progress, rows: list[FoldEpoch]) -> None: ...

    def stop_requested(self) -> StopReason | None:
        return None

    def save_checkpoint(self, data: bytes) -> None: ...

    def checkpoints(self) -> Iterator[bytes]:
        return iter(())


def run(table: Table, spec: TrainingSpec) -> float:
    """A job's work; returns its seconds."""
    torch.set_num_threads(CORES)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        experiment.run(
            table.parquet,
            table.profile,
            spec,
            dataset_sha256="",
            parquet_sha256="",
            workdir=Path(folder),
            device="cpu",
            callbacks=Nobody(),
        )
    return time.perf_counter() - began


if __name__ == "__main__":
    main(sys.argv[1:])
