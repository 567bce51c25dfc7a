"""One split tells little; k folds tell more, and cost k trainings."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from lessons.lab import Lab
from lessons.outcome import Check, Figures, Outcome, Plot, Series

SEED = 0
ROWS, COLUMNS = 120, 20
COUNTS = (2, 5, 10)
REPEATS = 6  # other folds of the same rows


def line_with_noise(seed: int) -> pd.DataFrame:
    """A target that twenty columns explain to a half, and noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, COLUMNS))
    y = x @ rng.normal(size=COLUMNS) / np.sqrt(COLUMNS) + rng.normal(size=ROWS)
    return pd.DataFrame({f"x{place}": one for place, one in enumerate(x.T)} | {"y": y})


def run(lab: Lab) -> Outcome:
    frame = line_with_noise(SEED)
    single, mean, seconds = {}, {}, {}
    for k in COUNTS:
        began = time.perf_counter()
        errors = np.array(
            [
                _fold_errors(lab, frame, k, seed)
                for seed in range(SEED * REPEATS, (SEED + 1) * REPEATS)
            ]
        )  # (repeats, k)
        seconds[k] = (time.perf_counter() - began) / REPEATS
        single[k], mean[k] = errors, errors.mean(1)
    alone = {k: float(single[k].std(ddof=1)) for k in COUNTS}
    together = {k: float(mean[k].std(ddof=1)) for k in COUNTS}
    level = {k: float(mean[k].mean()) for k in COUNTS}
    return Outcome(
        figures=[
            Figures(
                title=f"error of ridge regression over {REPEATS} ways to lay the folds",
                columns=[
                    "k",
                    "mean error",
                    "spread of one fold",
                    "spread of the mean",
                    "rows trained on, of all",
                    "seconds",
                ],
                rows=[
                    [k, level[k], alone[k], together[k], float(k - 1), round(seconds[k], 2)]
                    for k in COUNTS
                ],
            )
        ],
        plots=[
            Plot(
                title="what you could read as the error: one fold of five, or the mean of five",
                kind="points",
                x="way to lay the folds",
                y="rmse",
                series=[
                    Series(
                        name="one fold",
                        x=np.repeat(np.arange(1.0, REPEATS + 1), 5).tolist(),
                        y=single[5].ravel().tolist(),
                    ),
                    Series(
                        name="mean of five",
                        x=np.arange(1.0, REPEATS + 1).tolist(),
                        y=mean[5].tolist(),
                    ),
                ],
            )
        ],
        checks=[
            Check.at_least(
                "spread of one fold of five, of the mean of five", alone[5] / together[5], 1.8
            ),
            Check.at_least("error with k = 2, of that with k = 10", level[2] / level[10], 1.03),
            Check.at_most("error with k = 5, of that with k = 10", level[5] / level[10], 1.05),
        ],
    )


def _fold_errors(lab: Lab, frame: pd.DataFrame, k: int, seed: int) -> list[float]:
    run = lab.train(
        frame,
        target="y",
        k_folds=k,
        seed=seed,
        architecture={"type": "ridge"},
        preprocessing={"numeric_scaling": "standard", "target_transform": "none"},
    )
    return [float(metrics["rmse"] or np.nan) for metrics in run.fold_metrics]
