"""The same number of weights as one wide layer, as four narrow ones, and as four that shrink."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from lessons.lab import Lab
from lessons.outcome import Check, Figures, Outcome, Plot, Series

SEED = 0
ROWS, COLUMNS = 800, 4
NOISE = 0.05
SHAPES = {"wide": [128], "deep": [16, 16, 16, 8], "shrinking": [24, 17, 9, 6]}


def nested(seed: int) -> pd.DataFrame:
    """Waves of products: what a column does depends on another."""
    x, noise = _inputs(seed)
    return _table(x, np.sin(2 * x[:, 0] * x[:, 1]) + np.sin(2 * x[:, 2] * x[:, 3]) + noise)


def straight(seed: int) -> pd.DataFrame:
    """A line, and as much noise."""
    x, noise = _inputs(seed)
    return _table(x, x.sum(1) + x.sum(1).std() / NOISE * noise)


def weights(hidden: list[int]) -> int:
    """Weights and biases of a network with one output."""
    sizes = [COLUMNS, *hidden, 1]
    return sum((a + 1) * b for a, b in pairwise(sizes))


def run(lab: Lab) -> Outcome:
    tables = {"products": nested(SEED), "a noisy line": straight(SEED)}
    specs: list[dict[str, Any]] = [
        {
            "target": "y",
            "k_folds": 2,
            "dropout": 0,
            "early_stopping": None,
            "max_epochs": 60,
            "batch_size": 32,
            "optimizer": {"learning_rate": 0.005, "schedule": "cosine"},
            "preprocessing": {"numeric_scaling": "standard", "target_transform": "none"},
            "architecture": {"type": "mlp", "hidden_sizes": hidden, "activation": "tanh"},
        }
        for hidden in SHAPES.values()
    ]
    error: dict[str, dict[str, float]] = {}
    curves = {}
    for name, frame in tables.items():
        runs = dict(zip(SHAPES, lab.train_together(frame, specs), strict=True))
        spread = float(frame["y"].std())
        error[name] = {
            shape: float(one.metrics["rmse"] or np.nan) / spread for shape, one in runs.items()
        }
        curves[name] = {shape: one.curve("train_loss") for shape, one in runs.items()}
    counts = {shape: weights(hidden) for shape, hidden in SHAPES.items()}
    products, line = error["products"], error["a noisy line"]
    return Outcome(
        figures=[
            Figures(
                title="error out of fold, as a share of the target's standard deviation",
                columns=["shape", "hidden layers", "weights", "products", "noisy line"],
                rows=[
                    [
                        shape,
                        ", ".join(map(str, hidden)),
                        counts[shape],
                        products[shape],
                        line[shape],
                    ]
                    for shape, hidden in SHAPES.items()
                ],
            )
        ],
        plots=[
            Plot.lines(
                "training loss, waves of products",
                "epoch",
                "loss",
                curves["products"],
                logarithmic="y",
            ),
            Plot(
                title="error out of fold",
                kind="bars",
                x="target",
                y="share",
                series=[
                    Series(name=shape, x=list(tables), y=[error[name][shape] for name in tables])
                    for shape in SHAPES
                ],
            ),
        ],
        checks=[
            Check.at_most(
                "largest difference in the number of weights, share",
                max(counts.values()) / min(counts.values()) - 1,
                0.01,
            ),
            Check.at_most(
                "error of the deep network on products, of the wide one",
                products["deep"] / products["wide"],
                0.9,
            ),
            Check.at_most(
                "error of the shrinking network on products, of the wide one",
                products["shrinking"] / products["wide"],
                0.9,
            ),
            Check.at_least(
                "error of the deep network on a noisy line, of the wide one",
                line["deep"] / line["wide"],
                1.0,
            ),
        ],
    )


def _inputs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.5, 1.5, (ROWS, COLUMNS)), rng.normal(0, NOISE, ROWS)


def _table(x: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({f"x{place}": one for place, one in enumerate(x.T)} | {"y": y})
