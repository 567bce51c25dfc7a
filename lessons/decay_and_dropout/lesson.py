"""Weight decay and dropout do the same work twice: together they gain less than the sum."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from lessons.lab import Lab
from lessons.outcome import Check, Figures, Outcome, Plot

ROWS, COLUMNS, FRESH = 120, 30, 2_000
DECAYS = (0.0, 0.3, 1.0, 3.0, 10.0)
DROPOUTS = (0.0, 0.2, 0.4, 0.6, 0.8)
RATE, EPOCHS = 0.003, 60


def few_rows(rows: int, seed: int) -> pd.DataFrame:
    """Thirty columns, of which five matter a little, and as much noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, COLUMNS))
    y = 0.5 * x[:, :5].sum(1) + 0.4 * x[:, 0] * x[:, 1] + rng.normal(size=rows)
    return pd.DataFrame({f"x{place}": one for place, one in enumerate(x.T)} | {"y": y})


def run(lab: Lab) -> Outcome:
    frame, fresh = few_rows(ROWS, 0), few_rows(FRESH, 1)
    shared: dict[str, Any] = {
        "target": "y",
        "k_folds": 5,
        "architecture": {"type": "mlp", "hidden_sizes": [128]},
        "early_stopping": None,
        "max_epochs": EPOCHS,
        "batch_size": 32,
        "optimizer": {"learning_rate": RATE},
        "preprocessing": {"numeric_scaling": "standard", "target_transform": "none"},
    }
    grid = [*product(DECAYS, DROPOUTS)]
    runs = lab.train_together(
        frame, [shared | {"weight_decay": decay, "dropout": p} for decay, p in grid]
    )
    actual = fresh["y"].to_numpy()
    errors = {
        place: float(np.sqrt(np.mean((one.predict(fresh) - actual) ** 2)))
        for place, one in zip(grid, runs, strict=True)
    }
    out_of_fold = {
        place: float(one.metrics["rmse"] or np.nan) for place, one in zip(grid, runs, strict=True)
    }
    plain = errors[0.0, 0.0]
    decay = min(DECAYS, key=lambda own: errors[own, 0.0])
    dropout = min(DROPOUTS, key=lambda own: errors[0.0, own])
    alone = (plain - errors[decay, 0.0], plain - errors[0.0, dropout])
    together = plain - min(errors.values())
    chosen = min(grid, key=out_of_fold.__getitem__)
    return Outcome(
        figures=[
            Figures(
                title="rmse on fresh rows: decay down, dropout across",
                columns=["decay", *(f"{p:g}" for p in DROPOUTS)],
                rows=[[own, *(errors[own, p] for p in DROPOUTS)] for own in DECAYS],
            ),
            Figures(
                title="what they gain",
                columns=["", "rmse less than with neither"],
                rows=[
                    [f"decay {decay:g} alone", alone[0]],
                    [f"dropout {dropout:g} alone", alone[1]],
                    ["the sum of the two", sum(alone)],
                    ["the best pair", together],
                ],
            ),
        ],
        plots=[
            Plot.lines(
                "dropout helps less where decay already does",
                "dropout",
                "rmse on fresh rows",
                {
                    f"decay {own:g}": (DROPOUTS, [errors[own, p] for p in DROPOUTS])
                    for own in DECAYS
                },
            )
        ],
        checks=[
            Check.at_least("gain of decay alone, share", alone[0] / plain, 0.05),
            Check.at_least("gain of dropout alone, share", alone[1] / plain, 0.05),
            Check.at_most("the pair's gain over the sum of both", together / sum(alone), 0.8),
            Check.at_least("the pair's gain over the better one's", together / max(alone), 1.0),
            Check.at_most(
                "error of the pair that the folds choose over the best pair's",
                errors[chosen] / min(errors.values()),
                1.05,
            ),
        ],
    )
