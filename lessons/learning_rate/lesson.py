"""One rate is too small, one too large, and a search should look between them by factors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lessons.lab import Lab
from lessons.outcome import Check, Figures, Outcome, Plot
from models.spec.sweep import SweepSpec
from models.sweeps.sampling import draw
from models.sweeps.space import Space

ROWS = 300
LOW, HIGH = 1e-5, 10.0
RATES = np.logspace(-5, 1, 19).tolist()
DRAWN = 12
USEFUL = 1.6  # times the best error, at most


def bumps(rows: int, seed: int = 0) -> pd.DataFrame:
    """Friedman's table (1991, doi 10.1214/aos/1176347963): five columns that matter."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(rows, 8))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    y += 10 * x[:, 3] + 5 * x[:, 4] + rng.normal(size=rows)
    return pd.DataFrame({f"x{place}": one for place, one in enumerate(x.T)} | {"y": y})


def drawn(scale: str) -> list[float]:
    """Rates that a sweep draws between the same bounds, by their logarithm or not."""
    rates = {"low": LOW, "high": HIGH, "log": scale == "logarithmic"}
    sweep = SweepSpec.model_validate(
        {"search_space": {"optimizer.learning_rate": rates}, "sampler": "random"}
    )
    points = draw(
        Space.of(sweep, "y"), "random", seed=0, first=0, count=DRAWN, known=[], minimize=True
    )
    return [float(point["optimizer.learning_rate"]) for point in points]


def run(lab: Lab) -> Outcome:
    frame = bumps(ROWS)
    shared: dict[str, Any] = {
        "target": "y",
        "k_folds": 3,
        "architecture": {"type": "mlp", "hidden_sizes": [32]},
        "dropout": 0.0,
        "early_stopping": None,
        "max_epochs": 30,
        "preprocessing": {"numeric_scaling": "standard", "target_transform": "none"},
    }
    by_scale = {scale: drawn(scale) for scale in ("logarithmic", "linear")}
    rates = [*RATES, *by_scale["logarithmic"], *by_scale["linear"]]
    runs = lab.train_together(
        frame, [shared | {"optimizer": {"learning_rate": rate}} for rate in rates]
    )
    # What stops being finite has learnt nothing: it counts as the mean.
    mean = float(frame["y"].std(ddof=0))
    errors = [min(float(one.metrics["rmse"] or np.inf), 2 * mean) for one in runs]
    curve = errors[: len(RATES)]
    best = int(np.argmin(curve))
    found = {
        "logarithmic": errors[len(RATES) : len(RATES) + DRAWN],
        "linear": errors[len(RATES) + DRAWN :],
    }
    useful = {
        scale: sum(error < USEFUL * min(curve) for error in own) for scale, own in found.items()
    }
    good = [rate for rate, error in zip(RATES, curve, strict=True) if error < 1.15 * min(curve)]
    return Outcome(
        figures=[
            Figures(
                title="the error out of fold by learning rate",
                columns=["rate", "rmse"],
                rows=[[rate, error] for rate, error in zip(RATES, curve, strict=True)],
            ),
            Figures(
                title=f"{DRAWN} rates between {LOW:g} and {HIGH:g}",
                columns=["drawn on a scale that is", "median rate", "useful ones", "lowest rmse"],
                rows=[
                    [scale, float(np.median(own)), useful[scale], min(found[scale])]
                    for scale, own in by_scale.items()
                ],
            ),
        ],
        plots=[
            Plot.lines(
                "too small, right, too large",
                "learning rate",
                "rmse",
                {"out of fold": (RATES, curve)},
                logarithmic="x",
            )
        ],
        checks=[
            Check.at_least("error of the smallest rate over the best", curve[0] / curve[best], 1.5),
            Check.at_least("error of the largest rate over the best", curve[-1] / curve[best], 1.5),
            Check.at_least("width of the good range, as a factor", max(good) / min(good), 2.0),
            Check.at_least(
                "useful draws on the logarithmic scale for one on the linear one",
                useful["logarithmic"] / max(useful["linear"], 1),
                2.0,
            ),
        ],
    )
