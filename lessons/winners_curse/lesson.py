"""Sixty-four equal networks: the best one has luck, and the correction takes it away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lessons.lab import Lab
from lessons.outcome import Check, Figures, Outcome, Plot, Series
from models.evaluation.selection import Trials, expected_error
from models.export.served import predict
from models.objectives import objective_of

ROWS, COLUMNS, FRESH = 80, 10, 2_000
NETWORKS, TABLES = 64, 6


def faint(rows: int, seed: int) -> pd.DataFrame:
    """A target of which the columns explain little."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, COLUMNS))
    return pd.DataFrame({f"x{place}": one for place, one in enumerate(x.T)}).assign(
        y=0.5 * x[:, 0] + rng.normal(size=rows)
    )


def run(lab: Lab) -> Outcome:
    spec: dict[str, Any] = {
        "target": "y",
        "k_folds": 5,
        "architecture": {"type": "mlp", "hidden_sizes": [32]},
        "dropout": 0.0,
        "early_stopping": None,
        "max_epochs": 30,
        "members_per_fold": NETWORKS,  # that differ in their seed only
        "optimizer": {"learning_rate": 0.01},
        "preprocessing": {"numeric_scaling": "standard", "target_transform": "none"},
    }
    rows = []
    for table in range(TABLES):
        frame, fresh = faint(ROWS, table), faint(FRESH, 1_000 + table)
        one = lab.train(frame, **spec)
        out_of_fold = one.out_of_fold.members  # (networks, rows)
        expected = expected_error(
            Trials(objective_of(one.spec), out_of_fold, one.actual, np.arange(len(one.actual))),
            "rmse",
        )
        assert expected is not None
        assert expected.estimate is not None
        encoded = one.encode(fresh)
        members = predict(one.served, encoded.numbers, encoded.codes).members
        by_fold = members.reshape(spec["k_folds"], NETWORKS, FRESH)[:, expected.winner]
        real = float(np.sqrt(np.mean((by_fold - fresh["y"].to_numpy()) ** 2)))
        errors = np.sqrt(np.mean((out_of_fold - one.actual) ** 2, axis=1))
        typical = float(np.sqrt(np.mean(errors**2)))
        rows.append((expected.naive, expected.estimate, typical, real))
    naive, corrected, typical, real = np.array(rows).T
    return Outcome(
        figures=[
            Figures(
                title=f"rmse of the best of {NETWORKS} networks on {TABLES} tables of {ROWS} rows",
                columns=["table", "as it won", "corrected", "of all networks", "on fresh rows"],
                rows=[[place + 1, *own] for place, own in enumerate(rows)],
            )
        ],
        plots=[
            Plot(
                title="what the winner promises",
                kind="bars",
                x="table",
                y="rmse",
                series=[
                    Series(
                        name=name,
                        x=[str(place + 1) for place in range(TABLES)],
                        y=values.tolist(),
                    )
                    for name, values in (
                        ("as it won", naive),
                        ("corrected", corrected),
                        ("on fresh rows", real),
                    )
                ],
            )
        ],
        checks=[
            Check.at_most(
                "the winner's error over that of all networks", (naive / typical).mean(), 0.95
            ),
            Check.at_most(
                "distance of the corrected error from that of all networks, share",
                abs((corrected / typical).mean() - 1),
                0.03,
            ),
            Check.at_most(
                "distance of the corrected error from fresh rows, share, mean of the tables",
                abs((corrected / real).mean() - 1),
                abs((naive / real).mean() - 1),
            ),
        ],
    )
