"""All folds at once against one fold after another, doing the same work.

The rivals are the loop that courses teach (DataLoader, torch.optim.Adam, a validation loss each
epoch) and the same without a loader and with torch's fused Adam. Inputs are encoded for them in
advance. Each prints its time as a multiple of foldhouse's, and foldhouse its share of the rate at
which this machine multiplies batches of matrices.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.houses import Task, ames
from models.members import members_of
from models.networks.population import take
from models.training.engine import Monitor, Trainer

EPOCHS = 20
BATCH = 64
DROPOUT = 0.1
ROUNDS = 2
# Sizes of a batched product that fills the cores without leaving the cache.
GEMM = (5, 512, 512, 512)

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "linear": {"type": "linear"},
    "[64]": {"type": "mlp", "hidden_sizes": [64], "activation": "relu"},
    "[256, 64]": {"type": "mlp", "hidden_sizes": [256, 64], "activation": "relu"},
}


def main() -> None:
    rate = gemm_rate()
    print(f"{torch.get_num_threads()} threads, batched sgemm {rate / 1e9:.0f} GFLOP/s\n")
    print("| network | folds | foldhouse, s | DataLoader loop | bare loop, fused Adam | of sgemm |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, architecture in ARCHITECTURES.items():
        for k in (5, 10):
            task = ames(
                architecture=architecture,
                k_folds=k,
                batch_size=BATCH,
                max_epochs=EPOCHS,
                dropout=DROPOUT,
                early_stopping=None,
                preprocessing={"numeric_scaling": "standard"},
            )
            own, loader, bare = (
                best_seconds(lambda run=run, task=task: run(task))  # type: ignore[misc]
                for run in (fused, loop_with_loader, loop_without_loader)
            )
            share = operations(task) / own / rate
            print(
                f"| {name} | {k} | {own:.2f} | {loader / own:.1f} × | {bare / own:.1f} × | "
                f"{share:.0%} |"
            )


def fused(task: Task) -> None:
    trainer = Trainer(
        members_of([task.spec]), task.design, task.split.folds, device=torch.device("cpu")
    )
    trainer.train(Monitor())


def loop_with_loader(task: Task) -> None:
    for train, validation, network in folds(task):
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
        loader = DataLoader(TensorDataset(*train), BATCH, shuffle=True)
        train_network(network, optimizer, lambda loader=loader: loader, validation)  # type: ignore[misc]


def loop_without_loader(task: Task) -> None:
    for (x, y), validation, network in folds(task):
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)

        def batches(x: Tensor = x, y: Tensor = y) -> Iterator[tuple[Tensor, Tensor]]:
            for rows in torch.randperm(len(x)).split(BATCH):
                yield x[rows], y[rows]

        train_network(network, optimizer, batches, validation)


def train_network(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Callable[[], Any],
    validation: tuple[Tensor, Tensor],
) -> None:
    loss_of = nn.MSELoss()
    for _ in range(EPOCHS):
        network.train()
        for x, y in batches():
            optimizer.zero_grad()
            loss_of(network(x), y).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            loss_of(network(validation[0]), validation[1]).item()


def folds(
    task: Task,
) -> Iterator[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], nn.Sequential]]:
    """(training rows, validation rows, a fresh network) of each fold."""
    trainer = Trainer(
        members_of([task.spec]), task.design, task.split.folds, device=torch.device("cpu")
    )
    numbers = torch.from_numpy(task.design.numbers).unsqueeze(0)
    codes = torch.from_numpy(task.design.codes).unsqueeze(0)
    target = torch.from_numpy(task.design.target).unsqueeze(0)
    for place, fold in enumerate(task.split.folds):
        own = torch.tensor([place])
        x = take(trainer.inputs.encoder, own)(numbers, codes)[0]
        y = take(trainer.inputs.target, own).standardize(target).float().T
        layers: list[nn.Module] = []
        width = x.shape[1]
        for units in getattr(task.spec.architecture, "hidden_sizes", []):
            layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(DROPOUT)]
            width = units
        network = nn.Sequential(*layers, nn.Linear(width, 1))
        yield (x[fold.train], y[fold.train]), (x[fold.validation], y[fold.validation]), network


def operations(task: Task) -> float:
    """Floating point operations of training: forward, and backward by weights and by hidden
    units."""
    trainer = Trainer(
        members_of([task.spec]), task.design, task.split.folds, device=torch.device("cpu")
    )
    sizes = [layer.weight[0].numel() for layer in trainer.network.linear_layers()]
    rows = sum(len(fold.train) for fold in task.split.folds) * EPOCHS
    return 2.0 * rows * (3 * sum(sizes) - sizes[0])


def gemm_rate() -> float:
    """Operations a second of one batched product in float32, the best of many."""
    members, rows, inner, columns = GEMM
    a, b = torch.randn(members, rows, inner), torch.randn(members, inner, columns)
    out = torch.empty(members, rows, columns)

    def once() -> float:
        began = time.perf_counter()
        torch.bmm(a, b, out=out)
        return time.perf_counter() - began

    return 2.0 * members * rows * inner * columns / min(once() for _ in range(50))


def best_seconds(run: Callable[[], None]) -> float:
    def once() -> float:
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    return min(once() for _ in range(ROUNDS))
