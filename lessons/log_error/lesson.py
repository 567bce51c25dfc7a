"""A dollar is worth the same for a cheap and a dear house; a per cent is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lessons.houses import PRICE, houses
from lessons.lab import Lab
from lessons.outcome import Check, Figures, Outcome, Plot, Series

SEED = 0
FIFTHS = ("cheapest", "second", "middle", "fourth", "dearest")
INPUTS = ["LotArea", "OverallQual", "YearBuilt", "TotalBsmtSF", "GrLivArea", "GarageCars"]

Vector = NDArray[np.float64]


def run(lab: Lab) -> Outcome:
    frame = houses()[[*INPUTS, PRICE]]
    shared: dict[str, Any] = {"target": PRICE, "seed": SEED, "architecture": {"type": "ridge"}}
    runs = {
        name: lab.train(frame, preprocessing={"target_transform": transform}, **shared)
        for name, transform in (("dollars", "none"), ("log dollars", "log"))
    }
    actual = runs["dollars"].actual
    fifth = pd.qcut(actual, len(FIFTHS), labels=False)
    relative = {name: _by_fifth(run.prediction / actual - 1, fifth) for name, run in runs.items()}
    absolute = {name: _by_fifth(run.prediction - actual, fifth) for name, run in runs.items()}
    rmsle = {name: _rmsle(run.prediction, actual) for name, run in runs.items()}
    below_zero = int((runs["dollars"].prediction <= 0).sum())
    return Outcome(
        figures=[
            Figures(
                title="median error by price",
                columns=["houses", "target", "dollars", "per cent"],
                rows=[
                    [level, name, absolute[name][place], 100 * relative[name][place]]
                    for place, level in enumerate(FIFTHS)
                    for name in runs
                ],
            ),
            Figures(
                title="all houses",
                columns=["target", "RMSLE", "RMSE in dollars"],
                rows=[
                    [name, rmsle[name], float(np.sqrt(np.mean((run.prediction - actual) ** 2)))]
                    for name, run in runs.items()
                ],
            ),
        ],
        plots=[
            Plot(
                title="median relative error, per cent",
                kind="bars",
                x="houses by price",
                y="per cent",
                series=[
                    Series(name=name, x=list(FIFTHS), y=(100 * relative[name]).tolist())
                    for name in runs
                ],
            )
        ],
        checks=[
            Check.at_least(
                "relative error of the cheapest fifth, of the middle one, trained on dollars",
                relative["dollars"][0] / relative["dollars"][2],
                1.3,
            ),
            Check.at_least(
                "error in dollars of the dearest fifth, of the cheapest, trained on dollars",
                absolute["dollars"][-1] / absolute["dollars"][0],
                1.2,
            ),
            Check.at_most(
                "relative error of the cheapest fifth with the log target, of that without",
                relative["log dollars"][0] / relative["dollars"][0],
                0.9,
            ),
            Check.at_most(
                "RMSLE with the log target, of that without",
                rmsle["log dollars"] / rmsle["dollars"],
                0.95,
            ),
        ],
        note=f"Trained on dollars, {below_zero} houses got a price of zero or less; the RMSLE "
        "counts such a price as 1 dollar."
        if below_zero
        else None,
    )


def _by_fifth(error: Vector, fifth: NDArray[np.int64]) -> Vector:
    """(5,) the median size of the errors."""
    return np.array([np.median(np.abs(error[fifth == place])) for place in range(len(FIFTHS))])


def _rmsle(predicted: Vector, actual: Vector) -> float:
    """As Kaggle's competition scores: of the logarithms."""
    return float(np.sqrt(np.mean((np.log(np.maximum(predicted, 1)) - np.log(actual)) ** 2)))
