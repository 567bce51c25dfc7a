"""Weights can be kept: a warm start begins from them, and a frozen layer stays there."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lessons.lab import Lab
from lessons.outcome import Check, Figures, Outcome, Plot

COLUMNS = 20
DIRECTIONS = 3  # that matter, in the old task and the new
OLD_ROWS = 3_000
NEW_ROWS = 80
TEST_ROWS = 1_000
WIDTHS = (64, 32)
BATCH = 64
OLD_EPOCHS = 30
NEW_STEPS = 300
RATE = 0.002
NOISE = 0.2
FIRST = "0"  # the name of the first layer in the network


@dataclass(frozen=True)
class Training:
    """errors : on new rows after each step, in variances of the target
    moved : the largest change of a weight of the first layer
    """

    network: nn.Module
    errors: list[float]
    moved: float


def run(lab: Lab) -> Outcome:  # noqa: ARG001
    pretrained = network(seed=1)
    fit_old(pretrained, *rows_of(OLD_ROWS, task=0))
    seen, unseen = rows_of(NEW_ROWS, task=1), rows_of(TEST_ROWS, task=2)

    scratch = fit_new(network(seed=2), seen, unseen)
    warm = fit_new(copy.deepcopy(pretrained), seen, unseen)
    frozen = fit_new(frozen_copy(pretrained), seen, unseen)
    random = fit_new(frozen_copy(network(seed=2)), seen, unseen)
    ways = {
        "from random weights": scratch,
        "warm start": warm,
        "warm start, first layer frozen": frozen,
        "random first layer, frozen": random,
    }
    last = {name: own.errors[-1] for name, own in ways.items()}
    first = network(seed=0).get_parameter(f"{FIRST}.weight")
    steps = range(1, NEW_STEPS + 1)
    return Outcome(
        figures=[
            Figures(
                title="parameters of the network",
                columns=["name", "shape", "numbers"],
                rows=[
                    [name, " × ".join(map(str, own.shape)), own.numel()]
                    for name, own in pretrained.named_parameters()
                ],
            ),
            Figures(
                title=f"after {NEW_STEPS} steps on {NEW_ROWS} rows of the new task",
                columns=[
                    "way",
                    "parameters that learn",
                    "first layer moved by",
                    "error on new rows",
                ],
                rows=[
                    [name, learning(own.network), own.moved, last[name]]
                    for name, own in ways.items()
                ],
            ),
        ],
        plots=[
            Plot.lines(
                "error on new rows while training",
                "step",
                "mean squared error, in variances",
                {name: (steps, own.errors) for name, own in ways.items()},
            )
        ],
        checks=[
            Check.at_most(
                "warm start: error, of that from random weights",
                last["warm start"] / last["from random weights"],
                0.95,
            ),
            Check.at_most(
                "first layer frozen: error, of that from random weights",
                last["warm start, first layer frozen"] / last["from random weights"],
                0.7,
            ),
            Check.at_least(
                "random first layer frozen: error, of that of a learnt one",
                last["random first layer, frozen"] / last["warm start, first layer frozen"],
                1.4,
            ),
            Check.at_most(
                "frozen first layer: largest change of a weight",
                frozen.moved,
                0,
            ),
            Check.at_least("warm start: largest change of a weight", warm.moved, 0.01),
            Check.at_most(
                "parameters that learn, off the count without the first layer",
                abs(learning(frozen.network) - (learning(pretrained) - first.numel() - WIDTHS[0])),
                0,
            ),
        ],
        note="Plain loops in torch.",
    )


def rows_of(count: int, task: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(count, columns) and targets (count,). The old task is 0; 1 and 2 are rows of the new one,
    which uses the same directions in another way."""
    directions = np.linalg.qr(np.random.default_rng(seed).normal(size=(COLUMNS, COLUMNS)))[0][
        :, :DIRECTIONS
    ]
    rng = np.random.default_rng([seed, task, 1])
    x = rng.normal(size=(count, COLUMNS))
    a, b, c = (x @ directions).T
    if task == 0:
        y = np.abs(a) + b * np.tanh(c) + np.sin(2 * c)
    else:
        y = np.sin(2 * c) - np.abs(a) + 0.5 * np.abs(b)
    y = y + NOISE * rng.normal(size=count)
    y = (y - y.mean()) / y.std()
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def network(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(COLUMNS, WIDTHS[0]),
            nn.ReLU(),
            nn.Linear(*WIDTHS),
            nn.ReLU(),
            nn.Linear(WIDTHS[1], 1),
        )


def frozen_copy(known: nn.Module) -> nn.Module:
    """Its first layer has no gradients, so no optimiser moves it."""
    own = copy.deepcopy(known)
    own.get_submodule(FIRST).requires_grad_(False)
    return own


def fit_old(own: nn.Module, x: Tensor, y: Tensor) -> None:
    optimizer = torch.optim.Adam(own.parameters(), RATE)
    generator = torch.Generator().manual_seed(0)
    for _ in range(OLD_EPOCHS):
        for rows in torch.randperm(len(y), generator=generator).split(BATCH):
            _step(own, optimizer, x[rows], y[rows])


def fit_new(own: nn.Module, seen: tuple[Tensor, Tensor], unseen: tuple[Tensor, Tensor]) -> Training:
    """All rows in each step."""
    first = own.get_parameter(f"{FIRST}.weight")
    start = first.detach().clone()
    optimizer = torch.optim.Adam([p for p in own.parameters() if p.requires_grad], RATE)
    errors = []
    for _ in range(NEW_STEPS):
        _step(own, optimizer, *seen)
        with torch.no_grad():
            errors.append(float((own(unseen[0])[:, 0] - unseen[1]).square().mean()))
    return Training(own, errors, float((first.detach() - start).abs().max()))


def _step(own: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    (own(x)[:, 0] - y).square().mean().backward()
    optimizer.step()


def learning(own: nn.Module) -> int:
    """Numbers that training moves."""
    return sum(parameter.numel() for parameter in own.parameters() if parameter.requires_grad)
