"""What `POST /v1/jobs:validate` says that a job takes, against what it takes.

A whole run, from the stored table to the files of a model, in a process of its own. Early stopping
is off: it makes a run shorter, and the estimate is that of all epochs.

Other work on the machine makes the seconds of the wall too many, so those of the processor stand
beside them, of the process, its threads and its lanes, divided by the lanes. An undisturbed run
lies between the two: stages of one thread leave a core idle. With `--lanes 1` they are one figure.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.houses import AMES, CORES, LIMITS, Table, made_up, stored
from benchmarks.measurement import measure
from models import experiment
from models.epochs import FoldEpoch
from models.experiment import Progress, StopReason
from models.machine import core_rate
from models.planning.estimate import PROCESS_BYTES, Machine, estimate
from models.report.run import Names
from models.spec import TrainingSpec
from models.tables.table import read_table

MB = 1_000_000


def ames() -> pa.Table:
    return read_table(AMES, LIMITS).table


def worded(rows: int, columns: int, levels: int) -> pa.Table:
    """Prices that follow from words alone, of so many levels a column."""
    rng = np.random.default_rng(0)
    log_price = rng.normal(12, 0.1, rows)
    table = {}
    words = pa.array([f"level {level}" for level in range(levels)])
    for place in range(columns):
        codes = rng.integers(levels, size=rows)
        table[f"word {place}"] = words.take(pa.array(codes))
        log_price += 0.1 * rng.normal(size=levels)[codes]
    return pa.table(table | {"price": pa.array(np.exp(log_price))})


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
    ("1,460 houses × 80, default", lambda: ames().slice(0, 1_460), "SalePrice", {"max_epochs": 10}),
    ("2,000 rows × 500, default", lambda: made_up(2_000, 500), "price", {"max_epochs": 2}),
    (
        "1,000 rows × 1,999, linear",
        lambda: made_up(1_000, 1_999),
        "price",
        {"architecture": {"type": "linear"}, "max_epochs": 5},
    ),
    ("1,000 rows × 1,999, default", lambda: made_up(1_000, 1_999), "price", {"max_epochs": 1}),
    ("20,000 rows × 20, default", lambda: made_up(20_000, 20), "price", {"max_epochs": 2}),
    ("100,000 rows × 40, default", lambda: made_up(100_000, 40), "price", {"max_epochs": 1}),
    ("5,000 rows × 10 of 300 words", lambda: worded(5_000, 10, 300), "price", {"max_epochs": 2}),
    (
        "2,000 rows × 20, [1024, 512]",
        lambda: made_up(2_000, 20),
        "price",
        {
            "architecture": {"type": "mlp", "hidden_sizes": [1024, 512]},
            "batch_size": 512,
            "max_epochs": 60,
        },
    ),
]


@dataclass(frozen=True)
class Seconds:
    """`processor`: of the process, its threads and its lanes. `stages`: the wall's, by name."""

    wall: float
    processor: float
    stages: dict[str, float]


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lanes", type=int, default=CORES, help="cores that a run may use")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    given = parser.parse_args(arguments)
    machine = Machine(given.lanes, core_rate())
    print(
        f"{machine.core_rate / 1e9:.1f}e9 multiplications a second of a core, {given.lanes} lanes. "
        "Other work disturbs the wall's seconds: read those of the processor ÷ lanes beside them; "
        "an undisturbed run lies between.\n"
    )
    print(
        "| | wall, s | processor ÷ lanes, s | estimated, s | ÷ wall | ÷ processor | "
        "peak memory, MB | estimated, MB | ratio | prepare, train, evaluate, export |"
    )
    print("| --- " + "| ---: " * 9 + "|")
    for name, rows, target, settings in CASES:
        if given.only not in name:
            continue
        with stored(rows(), target) as table:
            spec = table.resolve(**{"early_stopping": None, **settings})
            measured = measure(run, table, spec, given.lanes)
            expected = estimate(spec, table.profile, machine)
        took, memory = measured.result, measured.memory_bytes
        processor = took.processor / given.lanes
        estimated = expected.memory_bytes - PROCESS_BYTES
        stages = [took.stages[stage] for stage in ("prepare", "train", "evaluate", "export")]
        print(
            f"| {name} | {took.wall:.1f} | {processor:.1f} | {expected.seconds:.1f} | "
            f"{expected.seconds / took.wall:.2f} | {expected.seconds / processor:.2f} | "
            f"{memory / MB:,.0f} | {estimated / MB:,.0f} | {estimated / memory:.2f} | "
            f"{', '.join(f'{seconds:.1f}' for seconds in stages)} |",
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


def run(table: Table, spec: TrainingSpec, lanes: int) -> Seconds:
    """A job's work on so many cores."""
    torch.set_num_threads(lanes)
    began, used = time.perf_counter(), processor_seconds()
    with tempfile.TemporaryDirectory() as folder:
        context = experiment.Context(
            parquet=table.parquet,
            profile=table.profile,
            names=Names("job", None, "table.csv"),
            dataset_sha256="",
            parquet_sha256="",
            workdir=Path(folder),
            device="cpu",
            callbacks=Nobody(),
        )
        outcome = experiment.run(context, spec)
    wall, processor = time.perf_counter() - began, processor_seconds() - used
    return Seconds(wall, processor, outcome.result["seconds"])


def processor_seconds() -> float:
    """Of this process and of its children that have ended, lanes among them."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main(sys.argv[1:])
