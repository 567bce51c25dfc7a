"""Without a bend, depth is a line; with the wrong bend, a deep network does not learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lessons.lab import Lab
from lessons.outcome import Check, Figures, Outcome, Plot

SEED = 0
ROWS = 300
DEPTH, WIDTH = 10, 16
SHALLOW = ("identity", "relu")
DEEP = ("sigmoid", "scaled_sigmoid")


def hills(seed: int) -> pd.DataFrame:
    """A target that is partly a plane and mostly not, with noise of a tenth."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-2, 2, (2, ROWS))
    y = np.sin(2 * a) + b**2 / 2 + 0.3 * b + rng.normal(0, 0.1, ROWS)
    return pd.DataFrame({"a": a, "b": b, "y": y})


def run(lab: Lab) -> Outcome:
    frame = hills(SEED)
    shared: dict[str, Any] = {
        "target": "y",
        "k_folds": 2,
        "dropout": 0,
        "early_stopping": None,
        "max_epochs": 70,
        "batch_size": 32,
        "preprocessing": {"numeric_scaling": "standard", "target_transform": "none"},
    }
    keys = [(bend, 2) for bend in SHALLOW] + [(bend, DEPTH) for bend in DEEP]
    specs: list[dict[str, Any]] = [
        {
            "architecture": {
                "type": "mlp",
                "hidden_sizes": [WIDTH] * depth,
                "activation": bend,
                "initialization": "xavier_uniform",
            },
            "optimizer": {"learning_rate": 0.005},
        }
        for bend, depth in keys
    ]
    specs.append({"architecture": {"type": "linear"}})
    *networks, line = lab.train_together(frame, [shared | spec for spec in specs])
    runs = dict(zip(keys, networks, strict=True))
    spread = float(frame["y"].std())
    error = {key: float(one.metrics["rmse"] or np.nan) / spread for key, one in runs.items()}
    straight = float(line.metrics["rmse"] or np.nan) / spread
    apart = abs(error["identity", 2] / straight - 1)
    return Outcome(
        figures=[
            Figures(
                title="error out of fold, as a share of the target's standard deviation",
                columns=["activation", "hidden layers", "error"],
                rows=[
                    ["(a line)", 0, straight],
                    *([bend, depth, error[bend, depth]] for bend, depth in keys),
                ],
            )
        ],
        plots=[
            Plot.lines(
                f"norm of the gradient, {DEPTH} layers",
                "epoch",
                "norm",
                {bend: runs[bend, DEPTH].curve("gradient_norm") for bend in DEEP},
                logarithmic="y",
            ),
            Plot.lines(
                f"training loss, {DEPTH} layers",
                "epoch",
                "loss",
                {bend: runs[bend, DEPTH].curve("train_loss") for bend in DEEP},
            ),
        ],
        checks=[
            Check.at_most("distance of the identity's error from the line's", apart, 0.05),
            Check.at_most(
                "error of two layers of ReLU, of the line's", error["relu", 2] / straight, 0.5
            ),
            Check.at_least(f"error of σ at depth {DEPTH}", error["sigmoid", DEPTH], 0.75),
            Check.at_most(f"error of 4σ − 2 at depth {DEPTH}", error["scaled_sigmoid", DEPTH], 0.6),
        ],
    )
