"""A line cannot part the corners of a square by their diagonals; eight hidden units can."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lessons.lab import Lab
from lessons.outcome import Check, Figures, Outcome, Plot, Series

ROWS = 400
GRID = 25  # points a side


def corners(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Points in a square; the class says whether both coordinates have the same sign."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0.05, 1, (2, rows)) * rng.choice([-1, 1], (2, rows))
    return pd.DataFrame({"x": x, "y": y, "class": np.where(x * y > 0, "same", "differ")})


def run(lab: Lab) -> Outcome:
    frame = corners()
    shared = {"target": "class", "dropout": 0, "early_stopping": None, "max_epochs": 100}
    faster = {"learning_rate": 0.01}
    line = lab.train(frame, architecture={"type": "linear"}, optimizer=faster, **shared)
    network = lab.train(
        frame,
        architecture={"type": "mlp", "hidden_sizes": [8], "activation": "tanh"},
        optimizer=faster,
        **shared,
    )
    names = {"a line": line, "eight hidden units": network}
    accuracy = {name: float(run.metrics["accuracy"] or 0) for name, run in names.items()}

    side = np.linspace(-1, 1, GRID)
    grid = pd.DataFrame({"x": np.tile(side, GRID), "y": np.repeat(side, GRID)})
    same = network.predict(grid)[:, network.design.levels.index("same")] > 0.5
    return Outcome(
        figures=[
            Figures(
                title="accuracy out of fold",
                columns=["model", "weights", "accuracy"],
                rows=[
                    ["a line", 3, accuracy["a line"]],
                    ["eight hidden units", 8 * 3 + 9, accuracy["eight hidden units"]],
                ],
            )
        ],
        plots=[
            Plot(
                title="where eight hidden units see the same sign",
                kind="points",
                x="x",
                y="y",
                series=[
                    Series(
                        name=name,
                        x=grid["x"][chosen].tolist(),
                        y=grid["y"][chosen].tolist(),
                    )
                    for name, chosen in (("same", same), ("differ", ~same))
                ],
            )
        ],
        checks=[
            Check.at_most("accuracy of a line", accuracy["a line"], 0.65),
            Check.at_least("accuracy of eight hidden units", accuracy["eight hidden units"], 0.98),
        ],
    )
