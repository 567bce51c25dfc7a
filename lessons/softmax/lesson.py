"""Softmax turns scores into probabilities; the layers before it decide which regions it draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lessons.lab import Lab
from lessons.outcome import Check, Figures, Outcome, Plot, Series

SEED = 0
ROWS = 600
RADII = (1.0, 2.0, 3.0)  # outer edge of the disc and of the two rings around it
GRID = 27  # points a side
SHIFT = 1_000.0


def rings(seed: int) -> pd.DataFrame:
    """A disc and two rings around it, a class each, 200 rows of each."""
    rng = np.random.default_rng(seed)
    ring = np.repeat([0, 1, 2], ROWS // 3)
    radius = rng.uniform(0.1, 0.9, ROWS) + ring
    angle = rng.uniform(0, 2 * np.pi, ROWS)
    names = np.array(["disc", "inner ring", "outer ring"])
    return pd.DataFrame(
        {"x": radius * np.cos(angle), "y": radius * np.sin(angle), "class": names[ring]}
    )


def naive(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """As the formula stands. Scores: (n, classes)."""
    with np.errstate(over="ignore", invalid="ignore"):
        powers = np.exp(scores)
        shares: NDArray[np.float64] = powers / powers.sum(1, keepdims=True)
        return shares


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same after the largest score of each row is taken off: no power exceeds 1."""
    return naive(scores - scores.max(1, keepdims=True))


def run(lab: Lab) -> Outcome:
    frame = rings(SEED)
    shared: dict[str, Any] = {"target": "class", "k_folds": 3, "early_stopping": None, "dropout": 0}
    regression, network = lab.train_together(
        frame,
        [
            {**shared, "architecture": {"type": "linear"}},
            {
                **shared,
                "architecture": {"type": "mlp", "hidden_sizes": [32]},
                "optimizer": {"learning_rate": 0.02},
            },
        ],
    )
    accuracy = {
        name: float(one.metrics["accuracy"] or 0)
        for name, one in (("softmax regression", regression), ("MLP of 32 units", network))
    }
    probabilities = network.prediction
    scores = np.log(probabilities)
    doubtful = scores[[probabilities.max(1).argmin()]]
    shifted = np.abs(softmax(scores + SHIFT) - softmax(scores)).max()
    lost = np.isnan(naive(scores + SHIFT)).any(1).mean()

    side = np.linspace(-RADII[-1], RADII[-1], GRID)
    grid = pd.DataFrame({"x": np.tile(side, GRID), "y": np.repeat(side, GRID)})
    classes = network.predict(grid).argmax(1)
    return Outcome(
        figures=[
            Figures(
                title="accuracy out of fold",
                columns=["model", "accuracy"],
                rows=[[name, value] for name, value in accuracy.items()],
            ),
            Figures(
                title="probabilities of the most doubtful row",
                columns=["scores", *network.design.levels],
                rows=[
                    ["as they are", *softmax(doubtful)[0].tolist()],
                    [f"plus {SHIFT:g}", *softmax(doubtful + SHIFT)[0].tolist()],
                ],
            ),
        ],
        plots=[
            Plot(
                title="the class that the MLP finds most probable",
                kind="points",
                x="x",
                y="y",
                series=[
                    Series(
                        name=level,
                        x=grid["x"][classes == place].tolist(),
                        y=grid["y"][classes == place].tolist(),
                    )
                    for place, level in enumerate(network.design.levels)
                ],
            )
        ],
        checks=[
            Check.at_most(
                "largest distance of a row's sum of probabilities from 1",
                np.abs(probabilities.sum(1) - 1).max(),
                1e-5,
            ),
            Check.at_most(
                "change of a probability when 1,000 is added to all scores", shifted, 1e-9
            ),
            Check.at_least("share of such rows that the formula as it stands loses", lost, 1.0),
            Check.at_most("accuracy of softmax regression", accuracy["softmax regression"], 0.6),
            Check.at_least("accuracy of the MLP", accuracy["MLP of 32 units"], 0.9),
        ],
    )
