"""All folds at once against one fold after another, doing the same work.

The rivals are the loop that courses teach (DataLoader, torch.optim.Adam, a validation loss each
epoch) and the same without a loader and with torch's fused Adam. Inputs are encoded for them in
advance; foldhouse's seconds include the encoding, because a job pays for it. Rivals have torch's
own number of threads, foldhouse as many lanes as there are cores.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.houses import (
    CORES,
    CPU,
    Table,
    Task,
    rows_of,
    seconds_of_training,
    stored,
    table_arguments,
)
from benchmarks.measurement import best_seconds, measure
from models.networks.population import take
from models.planning.estimate import layer_widths
from models.spec import TrainingSpec
from models.training.inputs import Inputs

BATCH = 64
DROPOUT = 0.1
ROUNDS = 2
# Sizes of a batched product that fills the cores without leaving the cache.
GEMM = (5, 512, 512, 512)

HIDDEN_SIZES: list[list[int]] = [[], [64], [256, 64], [512, 256], [1024, 512]]
FOLDS = (5, 10)
# Wide networks take long, and what an epoch of theirs costs is seen from a few.
EPOCHS = {"linear": 40, "[64]": 40, "[256, 64]": 40, "[512, 256]": 10, "[1024, 512]": 5}

# 64 trials of [64], on as many folds each.
SWEEP_FOLDS = 5
LEARNING_RATES = [3e-4, 5e-4, 8e-4, 1e-3, 2e-3, 3e-3, 5e-3, 8e-3]
WEIGHT_DECAYS = [0.0, 1e-5, 1e-4, 1e-3]
DROPOUTS = [0.1, 0.3]

Rows = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class LoopFold:
    """Encoded rows of a fold, inputs (n, D) and targets (n, 1)."""

    train: Rows
    validation: Rows


def main(arguments: Sequence[str] = ()) -> None:
    given = table_arguments(__doc__).parse_args(arguments)
    rate = gemm_rate()
    print(f"{CORES} cores, batched sgemm {rate / 1e9:.0f} GFLOP/s\n")
    with stored(rows_of(given), given.target) as table:
        print(
            "| network | folds | epochs | foldhouse, s | DataLoader loop | bare loop | of sgemm |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for hidden_sizes in HIDDEN_SIZES:
            for k in FOLDS:
                task = table.load(spec_of(table, hidden_sizes, k))
                print(row(task, name_of(hidden_sizes), rate), flush=True)
        print("\n| 64 trials × 5 folds of [64] | |\n| --- | --- |")
        for label, value in sweep(table, rate).items():
            print(f"| {label} | {value} |", flush=True)


def name_of(hidden_sizes: list[int]) -> str:
    return str(hidden_sizes) if hidden_sizes else "linear"


def spec_of(table: Table, hidden_sizes: list[int], k: int) -> TrainingSpec:
    mlp = {"type": "mlp", "hidden_sizes": hidden_sizes, "activation": "relu"}
    return table.resolve(
        architecture=mlp if hidden_sizes else {"type": "linear"},
        k_folds=k,
        batch_size=BATCH,
        max_epochs=EPOCHS[name_of(hidden_sizes)],
        dropout=DROPOUT,
        early_stopping=None,
        preprocessing={"numeric_scaling": "standard"},
    )


def row(task: Task, name: str, rate: float) -> str:
    folds = encoded(task)
    own = best_seconds(lambda: task.train_trials([task.spec]), ROUNDS)
    loader = best_seconds(lambda: loop_with_loader(task.spec, folds), ROUNDS)
    bare = best_seconds(lambda: loop_without_loader(task.spec, folds), ROUNDS)
    share = operations(task.spec, folds) / own / rate
    return (
        f"| {name} | {task.spec.k_folds} | {task.spec.max_epochs} | {own:.2f} | "
        f"{loader / own:.1f} × | {bare / own:.1f} × | {share:.0%} |"
    )


def sweep(table: Table, rate: float) -> dict[str, str]:
    """All trials at once, in a process of its own, against the loop over the same networks."""
    spec = spec_of(table, [64], SWEEP_FOLDS)
    trials = trials_of(spec)
    measured = measure(seconds_of_training, table, trials)
    folds = encoded(table.load(spec))
    networks = len(trials) * SWEEP_FOLDS
    loop = len(trials) * best_seconds(lambda: loop_with_loader(spec, folds), ROUNDS)
    return {
        "foldhouse, s": f"{measured.result:.1f}",
        f"DataLoader loop (timed on {SWEEP_FOLDS} of {networks} networks and multiplied)": (
            f"{loop / measured.result:.1f} ×"
        ),
        "of sgemm": f"{len(trials) * operations(spec, folds) / measured.result / rate:.0%}",
        "peak memory above the start": f"{measured.memory_bytes / 1e6:,.0f} MB",
        "the same, estimated": f"{table.estimated_bytes(trials) / 1e6:,.0f} MB",
    }


def trials_of(spec: TrainingSpec) -> list[TrainingSpec]:
    """Trials that differ in learning rate, weight decay and dropout."""
    return [
        spec.model_copy(
            update={
                "optimizer": spec.optimizer.model_copy(update={"learning_rate": learning_rate}),
                "weight_decay": weight_decay,
                "dropout": dropout,
            }
        )
        for learning_rate in LEARNING_RATES
        for weight_decay in WEIGHT_DECAYS
        for dropout in DROPOUTS
    ]


def encoded(task: Task) -> list[LoopFold]:
    """What each fold's network sees: inputs by the fold's own statistics."""
    inputs = Inputs(task.spec, task.design, task.folds, CPU)
    numbers = torch.from_numpy(task.design.numbers).unsqueeze(0)
    codes = torch.from_numpy(task.design.codes).unsqueeze(0)
    target = torch.from_numpy(task.design.target).unsqueeze(0)
    folds = []
    for place, fold in enumerate(task.folds):
        own = torch.tensor([place])
        x = take(inputs.encoder, own)(numbers, codes)[0]
        y = take(inputs.target, own).standardize(target).float().T
        folds.append(
            LoopFold((x[fold.train], y[fold.train]), (x[fold.validation], y[fold.validation]))
        )
    return folds


def loop_with_loader(spec: TrainingSpec, folds: list[LoopFold], device: torch.device = CPU) -> None:
    """On a GPU each batch is copied to it, as courses do."""
    for fold in folds:
        network = network_of(spec, fold.train[0].shape[1]).to(device)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
        loader = DataLoader(TensorDataset(*fold.train), BATCH, shuffle=True)

        def batches(loader: DataLoader[Any] = loader) -> Iterator[Rows]:
            for x, y in loader:
                yield x.to(device), y.to(device)

        validation = fold.validation[0].to(device), fold.validation[1].to(device)
        train_network(network, optimizer, batches, validation, spec.max_epochs)


def loop_without_loader(spec: TrainingSpec, folds: list[LoopFold]) -> None:
    for fold in folds:
        network = network_of(spec, fold.train[0].shape[1])
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)

        def batches(rows: Rows = fold.train) -> Iterator[Rows]:
            x, y = rows
            for batch in torch.randperm(len(x)).split(BATCH):
                yield x[batch], y[batch]

        train_network(network, optimizer, batches, fold.validation, spec.max_epochs)


def network_of(spec: TrainingSpec, inputs: int) -> nn.Module:
    layers: list[nn.Module] = []
    width = inputs
    for units in getattr(spec.architecture, "hidden_sizes", []):
        layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(spec.dropout)]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, 1))


def train_network(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Callable[[], Iterator[Any]],
    validation: Rows,
    epochs: int,
) -> None:
    loss_of = nn.MSELoss()
    for _ in range(epochs):
        network.train()
        for x, y in batches():
            optimizer.zero_grad()
            loss_of(network(x), y).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            loss_of(network(validation[0]), validation[1]).item()


def operations(spec: TrainingSpec, folds: list[LoopFold]) -> float:
    """Floating point operations of the products: of training forward, and backward by weights and
    by hidden units; of validation, forward."""
    widths = layer_widths(spec.architecture, folds[0].train[0].shape[1], outputs=1)
    sizes = [inner * outer for inner, outer in pairwise(widths)]
    trained = sum(len(fold.train[0]) for fold in folds) * spec.max_epochs
    validated = sum(len(fold.validation[0]) for fold in folds) * spec.max_epochs
    return 2.0 * (trained * (3 * sum(sizes) - sizes[0]) + validated * sum(sizes))


def gemm_rate() -> float:
    """Operations a second of one batched product in float32, the best of many."""
    members, rows, inner, columns = GEMM
    a, b = torch.randn(members, rows, inner), torch.randn(members, inner, columns)
    out = torch.empty(members, rows, columns)
    fastest = best_seconds(lambda: torch.bmm(a, b, out=out), rounds=50)
    return 2.0 * members * rows * inner * columns / fastest


if __name__ == "__main__":
    main(sys.argv[1:])
