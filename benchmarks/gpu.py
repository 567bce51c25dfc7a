"""A CUDA GPU: steps that are recorded against steps that are not, against the CPU, and against the
loop that courses teach; a sweep, a large table, and whether runs repeat bit for bit.

`--device cpu --rows 2000 --epochs 2 --trials 2` shows on any machine that the benchmark works.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.folds_against_loop import (
    BATCH,
    ROUNDS,
    encoded,
    loop_with_loader,
    spec_of,
    trials_of,
)
from benchmarks.houses import AMES, CORES, CPU, LIMITS, Table, Task, made_up, stored
from benchmarks.measurement import best_seconds
from models.members import members_of
from models.spec import TrainingSpec
from models.tables.table import read_table
from models.training.engine import Trainer
from models.training.inputs import Inputs
from models.training.recorded import WARM_UPS, Recorded

TARGET = "SalePrice"
FOLDS = 5
HIDDEN_SIZES = [256, 64]
PRECISIONS = ("float32", "tf32", "bfloat16")
TIMED_BLOCKS = 20
COLUMNS = 50  # of the large table
# Of each, two runs are compared.
ARCHITECTURES: list[dict[str, Any]] = [
    {"type": "linear"},
    {"type": "mlp", "hidden_sizes": HIDDEN_SIZES},
    {"type": "resnet"},
    {"type": "realmlp"},
    {"type": "tabm"},
]
COMPARED_EPOCHS = 3


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the large table")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--trials", type=int, default=64)
    given = parser.parse_args(arguments)
    if given.device.type == "cuda" and not torch.cuda.is_available():
        print("torch finds no CUDA device, so there is nothing to measure.")
        return
    name = torch.cuda.get_device_name(given.device) if given.device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {CORES} cores\n")
    houses = read_table(AMES, LIMITS).table
    with stored(houses.filter(houses[TARGET].is_valid()), TARGET) as table:
        steps(table, given.device)
        runs(table, given.device, given.epochs)
        sweep(table, given.device, given.epochs, given.trials)
        bits(table, given.device)
    with stored(made_up(given.rows, COLUMNS), "price") as table:
        large(table, given.device, given.rows)
    if Recorded.failed:
        print("\nA recording failed (see the warning): what is called recorded was not.")


def steps(table: Table, device: torch.device) -> None:
    """One batch of all folds: its rows, gradients and the optimiser's move."""
    print(f"| {HIDDEN_SIZES}, {FOLDS} folds: µs a batch of {BATCH} | recorded | not recorded | |")
    print("| --- | ---: | ---: | ---: |")
    for precision in PRECISIONS:
        spec = spec_of(table, HIDDEN_SIZES, FOLDS).model_copy(update={"precision": precision})
        task = table.load(spec)
        recorded = batch_seconds(task, device)
        with unrecorded():
            plain = batch_seconds(task, device)
        print(
            f"| {precision} | {recorded * 1e6:.0f} | {plain * 1e6:.0f} | {plain / recorded:.1f} × |"
        )
    print(flush=True)


def runs(table: Table, device: torch.device, epochs: int) -> None:
    """Whole runs, with encoding and validation, against the CPU and the loop on the device."""
    task = table.load(with_epochs(spec_of(table, HIDDEN_SIZES, FOLDS), epochs))
    folds = encoded(task)
    own = best_seconds(lambda: task.train_trials([task.spec], device=device), ROUNDS)
    with unrecorded():
        plain = best_seconds(lambda: task.train_trials([task.spec], device=device), ROUNDS)
    cpu = best_seconds(lambda: task.train_trials([task.spec], device=CPU), ROUNDS)
    loop = best_seconds(lambda: loop_with_loader(task.spec, folds, device), ROUNDS)
    print(f"| {HIDDEN_SIZES}, {FOLDS} folds, {epochs} epochs | s | of foldhouse's |")
    print("| --- | ---: | ---: |")
    print(f"| foldhouse | {own:.2f} | 1.0 × |")
    print(f"| without recordings | {plain:.2f} | {plain / own:.1f} × |")
    print(f"| on the CPU, {CORES} cores | {cpu:.2f} | {cpu / own:.1f} × |")
    print(f"| DataLoader loop on the device | {loop:.2f} | {loop / own:.1f} × |\n", flush=True)


def sweep(table: Table, device: torch.device, epochs: int, count: int) -> None:
    """All trials at once against one loop, timed and multiplied."""
    spec = with_epochs(spec_of(table, [64], FOLDS), epochs)
    task, trials = table.load(spec), trials_of(spec)[:count]
    folds = encoded(task)
    own, peak = seconds_and_peak(lambda: task.train_trials(trials, device=device), device)
    loop = best_seconds(lambda: loop_with_loader(spec, folds, device), 1) * len(trials)
    print(f"| {len(trials)} trials × {FOLDS} folds of [64], {epochs} epochs | |\n| --- | ---: |")
    print(f"| foldhouse, s | {own:.1f} |")
    print(f"| DataLoader loop on the device (one timed and multiplied) | {loop / own:.1f} × |")
    print(f"| peak memory of the device | {peak} |\n", flush=True)


def large(table: Table, device: torch.device, rows: int) -> None:
    """An epoch on the table whose epochs on a CPU `scaling` measures."""
    task = table.load(with_epochs(spec_of(table, [64], FOLDS), 1))
    own, peak = seconds_and_peak(lambda: task.train_trials([task.spec], device=device), device)
    print(f"| {rows:,} rows × {COLUMNS}, {FOLDS} folds of [64], one epoch | |")
    print("| --- | ---: |")
    print(f"| s | {own:.1f} |\n| peak memory of the device | {peak} |", flush=True)


def bits(table: Table, device: torch.device) -> None:
    """Whether all weights of two runs are equal."""
    print("| equal bits | two runs | recorded and not |\n| --- | --- | --- |")
    for architecture in ARCHITECTURES:
        spec = table.resolve(architecture=architecture, k_folds=FOLDS, dropout=0.1)
        task = table.load(with_epochs(spec, COMPARED_EPOCHS))
        first, second = weights(task, device), weights(task, device)
        with unrecorded():
            plain = weights(task, device)
        print(f"| {architecture['type']} | {same(first, second)} | {same(first, plain)} |")
    print(flush=True)


def batch_seconds(task: Task, device: torch.device) -> float:
    trainer = Trainer(members_of([task.spec]), Inputs(task.spec, task.design, task.folds, device))
    order = trainer._epoch_order()

    def train_block() -> None:
        trainer._train_block(order, 0)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(WARM_UPS + 1):
        train_block()
    return best_seconds(train_block, TIMED_BLOCKS) / (trainer._block_rows() // BATCH)


def seconds_and_peak(work: Callable[[], object], device: torch.device) -> tuple[float, str]:
    if device.type != "cuda":
        return best_seconds(work, 1), "–"
    torch.cuda.reset_peak_memory_stats(device)
    seconds = best_seconds(work, 1)
    return seconds, f"{torch.cuda.max_memory_allocated(device) / 1e6:,.0f} MB"


@contextmanager
def unrecorded() -> Iterator[None]:
    """As if the device could not record."""
    before, Recorded.failed = Recorded.failed, True
    try:
        yield
    finally:
        Recorded.failed = before


def with_epochs(spec: TrainingSpec, epochs: int) -> TrainingSpec:
    return spec.model_copy(update={"max_epochs": epochs})


def weights(task: Task, device: torch.device) -> dict[str, torch.Tensor]:
    (trained,) = task.train_trials([task.spec], device=device)
    return trained.network.state_dict()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> str:
    return "yes" if all(torch.equal(first[name], second[name]) for name in first) else "no"


if __name__ == "__main__":
    main(sys.argv[1:])
