"""The fused population equals folds trained one at a time from plain torch.nn parts."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from houses import Case, house_frame, lay
from torch import nn

from models.members import Member, members_of
from models.randomness import stream_seed
from models.training.dropout import PopulationNoise
from models.training.engine import BLOCK_ROWS, EpochLosses, Monitor, Trainer

ACTIVATIONS: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "selu": nn.SELU(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "identity": nn.Identity(),
}
LOSSES: dict[str, nn.Module] = {
    "squared_error": nn.MSELoss(),
    "absolute_error": nn.L1Loss(),
    "huber": nn.HuberLoss(),
}


class Recorder(Monitor):
    def __init__(self) -> None:
        self.losses: list[EpochLosses] = []

    def epoch_ended(self, losses: list[EpochLosses], active: list[Member]) -> None:  # noqa: ARG002
        self.losses += losses


def one_fold_inputs(case: Case, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Standardised inputs and targets of all rows, by one fold's training rows, in numpy."""
    train = case.split.folds[fold].train
    columns = []
    for column in case.design.numbers.T:
        known = column[train][~np.isnan(column[train])]
        filled = np.where(np.isnan(column), known.mean(), column)
        columns.append((filled - known.mean()) / known.std())
    for place, vocabulary in enumerate(case.design.categorical):
        codes = case.design.codes[:, place]
        for level in range(len(vocabulary.levels)):
            seen = level in codes[train]
            columns.append((codes == level).astype(float) * seen)
    target = np.log(case.design.target)
    return np.column_stack(columns), (target - target[train].mean()) / target[train].std()


def plain_network(trainer: Trainer, fold: int) -> nn.Sequential:
    """nn.Linear layers that start from the population's weights of this fold."""
    layers: list[nn.Module] = []
    for layer in trainer.network.linear_layers():
        weight, bias = layer.weight.detach()[fold], layer.bias.detach()[fold, 0]
        linear = nn.Linear(*weight.shape, dtype=weight.dtype)
        linear.weight.data.copy_(weight.T)
        linear.bias.data.copy_(bias)
        layers.append(linear)
    return nn.Sequential(*layers)


def train_one_fold(
    trainer: Trainer, case: Case, fold: int, dtype: torch.dtype
) -> tuple[nn.Sequential, list[tuple[float, float]]]:
    """The loop as a course teaches it. Returns the best network and (train, validation) losses."""
    spec = case.spec
    x_all, y_all = (torch.tensor(a, dtype=dtype) for a in one_fold_inputs(case, fold))
    rows = case.split.folds[fold]
    network = plain_network(trainer, fold)
    weights = [layer.weight for layer in network]
    biases = [layer.bias for layer in network]
    lr, decay = spec.optimizer.learning_rate, spec.weight_decay
    if spec.optimizer.name == "sgd":
        optimizer: Any = torch.optim.SGD(
            [*weights, *biases], lr=lr, momentum=spec.optimizer.momentum
        )
    else:
        optimizer = torch.optim.AdamW(
            [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}],
            lr=lr,
        )
    loss_of = LOSSES[spec.loss]
    activation = ACTIVATIONS.get(getattr(spec.architecture, "activation", "identity"))
    noise = PopulationNoise([Member(0, spec, fold, 0)], dtype, torch.device("cpu"))

    def forward(x: torch.Tensor, training: bool) -> torch.Tensor:
        for layer in list(network)[:-1]:
            x = activation(layer(x))
            mask = noise.keep(spec.batch_size, x.shape[1]) if training else None
            if mask is not None:
                x = x * mask[0, : len(x)]
        return network[-1](x)[:, 0]

    best, best_loss, best_epoch, history = copy.deepcopy(network), float("inf"), 0, []
    per_block = max(1, BLOCK_ROWS // spec.batch_size)
    for epoch in range(1, spec.max_epochs + 1):
        seed = stream_seed(spec.seed, "order", fold, epoch)
        order = torch.randperm(len(rows.train), generator=torch.Generator().manual_seed(seed))
        total = 0.0
        for step, batch in enumerate(torch.tensor(rows.train)[order].split(spec.batch_size)):
            if step % per_block == 0:
                noise.begin(epoch, step // per_block)
            optimizer.zero_grad()
            loss = loss_of(forward(x_all[batch], True), y_all[batch])
            loss.backward()
            if spec.optimizer.gradient_clip is not None:
                nn.utils.clip_grad_norm_(network.parameters(), spec.optimizer.gradient_clip)
            if spec.optimizer.name == "sgd":
                for weight in weights:
                    weight.data.mul_(1 - lr * decay)
            optimizer.step()
            total += float(loss.detach()) * len(batch)
        with torch.no_grad():
            scored = [
                float(loss_of(forward(x_all[part], False), y_all[part]))
                for part in (rows.watched, rows.validation)
                if len(part)
            ]
        history.append((total / len(rows.train), scored[-1]))
        if spec.early_stopping is None or scored[0] < best_loss:
            best, best_loss, best_epoch = copy.deepcopy(network), scored[0], epoch
        elif epoch - best_epoch >= spec.early_stopping.patience:
            break
    return best, history


CASES: dict[str, dict[str, Any]] = {
    "linear": {"architecture": {"type": "linear"}},
    "mlp": {"architecture": {"type": "mlp", "hidden_sizes": [8, 5]}, "dropout": 0.3},
    "sgd and clip": {
        "architecture": {"type": "mlp", "hidden_sizes": [8]},
        "optimizer": {"name": "sgd", "learning_rate": 0.05, "gradient_clip": 0.5},
        "weight_decay": 0.1,
    },
    "absolute error": {
        "loss": "absolute_error",
        "architecture": {"type": "mlp", "hidden_sizes": [6]},
    },
    "huber": {"loss": "huber", "architecture": {"type": "mlp", "hidden_sizes": [6]}},
    # The earliest fold trains on a quarter of the latest one's rows and has fewer batches.
    "folds of unequal size": {
        "folds": {"type": "time", "column": "sold"},
        "architecture": {"type": "mlp", "hidden_sizes": [8]},
        "optimizer": {"learning_rate": 0.02},
    },
    "early stopping": {
        "early_stopping": {"patience": 2, "fraction": 0.2},
        "architecture": {"type": "mlp", "hidden_sizes": [16]},
        "optimizer": {"learning_rate": 0.1},
        "max_epochs": 30,
    },
    **{
        f"activation {name}": {
            "architecture": {"type": "mlp", "hidden_sizes": [7], "activation": name}
        }
        for name in ACTIVATIONS
    },
}


def compare(case: Case, dtype: torch.dtype, tolerance: float) -> None:
    trainer = Trainer(
        members_of([case.spec]),
        case.design,
        case.split.folds,
        device=torch.device("cpu"),
        dtype=dtype,
    )
    start = copy.deepcopy(trainer)
    recorder = Recorder()
    trained = trainer.train(recorder)
    for fold in range(case.spec.k_folds):
        plain, history = train_one_fold(start, case, fold, dtype)
        fused = [
            (row.train_loss, row.validation_loss)
            for row in recorder.losses
            if row.member.fold == fold
        ]
        np.testing.assert_allclose(fused, history, rtol=tolerance, atol=tolerance)
        for layer, linear in zip(trained.network.linear_layers(), plain, strict=True):
            np.testing.assert_allclose(
                layer.weight.detach()[fold].T, linear.weight.detach(), rtol=0, atol=tolerance
            )
            np.testing.assert_allclose(
                layer.bias.detach()[fold, 0], linear.bias.detach(), rtol=0, atol=tolerance
            )


@pytest.mark.parametrize("name", CASES)
def test_fused_folds_equal_folds_trained_alone(tmp_path: Path, name: str) -> None:
    """103 rows in 5 folds are ragged; 4 epochs of 6 batches are 24 steps."""
    defaults: dict[str, Any] = {
        "batch_size": 16,
        "max_epochs": 4,
        "early_stopping": None,
        "preprocessing": {"target_transform": "log", "numeric_scaling": "standard"},
    }
    case = lay(tmp_path, house_frame(), **(defaults | CASES[name]))
    compare(case, torch.float64, 1e-9)


def test_early_stopping_is_exercised(tmp_path: Path) -> None:
    """The parity case above means something only if folds stop at different epochs."""
    spec = {"batch_size": 16, "preprocessing": {"target_transform": "log"}} | CASES[
        "early stopping"
    ]
    case = lay(tmp_path, house_frame(), **spec)
    trainer = Trainer(
        members_of([case.spec]), case.design, case.split.folds, device=torch.device("cpu")
    )
    trainer.train(Recorder())
    courses = trainer.courses
    assert len({course.epochs for course in courses if course.stopped_by == "early_stopping"}) > 1


def test_float32_stays_close_after_an_epoch(tmp_path: Path) -> None:
    case = lay(
        tmp_path,
        house_frame(rows=503),
        architecture={"type": "mlp", "hidden_sizes": [32, 16]},
        dropout=0.2,
        max_epochs=1,
        early_stopping=None,
        preprocessing={"target_transform": "log", "numeric_scaling": "standard"},
    )
    compare(case, torch.float32, 1e-4)


def test_blocks_divide_an_epoch(tmp_path: Path) -> None:
    """More rows than a block holds: dropout begins anew in each block, in both loops."""
    case = lay(
        tmp_path,
        house_frame(rows=2 * BLOCK_ROWS + 77),
        k_folds=2,
        architecture={"type": "mlp", "hidden_sizes": [4]},
        dropout=0.5,
        max_epochs=2,
        batch_size=48,
        early_stopping=None,
        preprocessing={"target_transform": "log", "numeric_scaling": "standard"},
    )
    compare(case, torch.float64, 1e-9)
