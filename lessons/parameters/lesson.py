"""Weights can be kept: a warm start begins from them, and a frozen layer stays there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from lessons.lab import Lab, Run
from lessons.outcome import Check, Figures, Outcome, Plot
from models.planning.layers import is_frozen

COLUMNS = 20
DIRECTIONS = 3  # that matter, in the old task and the new
OLD_ROWS = 3_000
NEW_ROWS = 80
TEST_ROWS = 1_000
WIDTHS = [64, 32]
NOISE = 0.2
FIRST = "hidden.0"
SHARED: dict[str, Any] = {
    "target": "y",
    "architecture": {
        "type": "mlp",
        "hidden_sizes": WIDTHS,
        "activation": "relu",
        "initialization": "default",
    },
    "dropout": 0.0,
    "early_stopping": None,
    "optimizer": {"learning_rate": 0.002},
    "preprocessing": {"numeric_scaling": "standard", "target_transform": "none"},
}
OLD = SHARED | {"batch_size": 64, "max_epochs": 30}
NEW = SHARED | {"batch_size": NEW_ROWS, "max_epochs": 300}  # all rows in each step
FROZEN = {"freeze": [FIRST]}


def run(lab: Lab) -> Outcome:
    old = lab.train(rows_of(OLD_ROWS, task=0), **OLD)
    seen, unseen = rows_of(NEW_ROWS, task=1), rows_of(TEST_ROWS, task=2)
    scratch, random = (lab.train(seen, **NEW, **more) for more in ({}, FROZEN))
    warm, frozen = (
        lab.train_together(seen, [{**NEW, **more}], start=old)[0] for more in ({}, FROZEN)
    )
    ways = {
        "from random weights": scratch,
        "warm start": warm,
        "warm start, first layer frozen": frozen,
        "random first layer, frozen": random,
    }
    errors = {name: error(own, unseen) for name, own in ways.items()}
    parameters = dict(old.trained[0].network.named_parameters())
    first = sum(own[0].numel() for name, own in parameters.items() if is_frozen(name, [FIRST]))
    return Outcome(
        figures=[
            Figures(
                title="parameters of the network of one fold",
                columns=["name", "shape", "numbers"],
                rows=[
                    [name, " × ".join(map(str, own.shape[1:])), own[0].numel()]
                    for name, own in parameters.items()
                ],
            ),
            Figures(
                title=f"after {NEW['max_epochs']} steps on {NEW_ROWS} rows of the new task",
                columns=["way", "parameters that learn", "error on new rows"],
                rows=[[name, learning(own), errors[name]] for name, own in ways.items()],
            ),
        ],
        plots=[
            Plot.lines(
                "error out of fold while training",
                "step",
                "mean squared error, in variances",
                {name: own.curve("validation_loss") for name, own in ways.items()},
            )
        ],
        checks=[
            Check.at_most(
                "warm start: error, of that from random weights",
                errors["warm start"] / errors["from random weights"],
                0.97,
            ),
            Check.at_most(
                "first layer frozen: error, of that from random weights",
                errors["warm start, first layer frozen"] / errors["from random weights"],
                0.7,
            ),
            Check.at_least(
                "random first layer frozen: error, of that of a learnt one",
                errors["random first layer, frozen"] / errors["warm start, first layer frozen"],
                1.4,
            ),
            Check.at_most("frozen first layer: largest change of a weight", moved(old, frozen), 0),
            Check.at_least("warm start: largest change of a weight", moved(old, warm), 0.01),
            Check.at_most(
                "parameters that learn, off the count without the first layer",
                abs(learning(frozen) - (learning(old) - first)),
                0,
            ),
        ],
    )


def rows_of(count: int, task: int, seed: int = 0) -> pd.DataFrame:
    """Columns and the target y. The old task is 0; 1 and 2 are rows of the new one, which uses the
    same directions in another way."""
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
    return pd.DataFrame(x).add_prefix("x").assign(y=(y - y.mean()) / y.std())


def error(own: Run, unseen: pd.DataFrame) -> float:
    """The mean squared error of a fold's network on new rows, in variances; the mean over the
    folds."""
    truth = unseen["y"].to_numpy()
    predictions = [own.predict(unseen, fold) for fold in range(own.spec.k_folds)]
    return float(np.mean([np.square(found - truth).mean() for found in predictions]))


def first_layer(own: Run) -> Tensor:
    """(folds, inputs, units)"""
    return own.trained[0].network.get_parameter(f"{FIRST}.weight").detach()


def moved(old: Run, new: Run) -> float:
    """The largest change of a weight of the first layer since the old run."""
    return float((first_layer(new) - first_layer(old)).abs().max())


def learning(own: Run) -> int:
    """Numbers that training moves in one network."""
    named = own.trained[0].network.named_parameters()
    return sum(value[0].numel() for name, value in named if not is_frozen(name, own.spec.freeze))
