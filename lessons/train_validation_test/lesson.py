"""The best of fifty on the validation rows looks better than it is; only untouched rows tell."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lessons.lab import Lab, Run
from lessons.outcome import Check, Figures, Outcome, Plot, Series
from models.data.design import Design
from models.export.served import predict

SEED = 0
ROWS, COLUMNS, FRESH = 180, 10, 1_000
SPECS, FOLDS = 50, 6

Vector = NDArray[np.float64]


def faint(rows: int, seed: int) -> pd.DataFrame:
    """A target of which the columns explain a fifth."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, COLUMNS))
    y = 0.5 * x[:, 0] + rng.normal(size=rows)
    return pd.DataFrame({f"x{place}": one for place, one in enumerate(x.T)} | {"y": y})


def fifty_specs(seed: int) -> list[dict[str, Any]]:
    """Settings at random, as a search would try them."""
    rng = np.random.default_rng(seed)
    return [
        {
            "dropout": round(rng.uniform(0, 0.7), 3),
            "weight_decay": float(10 ** rng.uniform(-3, 0)),
            "optimizer": {"learning_rate": float(10 ** rng.uniform(-3, -1.5))},
        }
        for _ in range(SPECS)
    ]


@dataclass
class Vault:
    """Rows that score one model, once.

    log : who opened it, and what was found
    """

    frame: pd.DataFrame
    log: list[tuple[str, float]] = field(default_factory=list)

    def open(self, who: str, run: Run) -> float:
        """The error of the served model.

        Raises
        ------
        PermissionError: it has been opened before.
        """
        if self.log:
            raise PermissionError(f"the vault was opened before, for {self.log[0][0]}")
        error = _rmse(run.predict(self.frame), self.frame["y"].to_numpy())
        self.log.append((who, error))
        return error


def run(lab: Lab) -> Outcome:
    shared: dict[str, Any] = {
        "target": "y",
        "k_folds": FOLDS,
        "architecture": {"type": "mlp", "hidden_sizes": [16]},
        "early_stopping": None,
        "max_epochs": 20,
        "preprocessing": {"numeric_scaling": "standard", "target_transform": "none"},
    }
    runs = lab.train_together(faint(ROWS, SEED), [shared | one for one in fifty_specs(SEED)])
    fresh = faint(FRESH, SEED + 1_000)
    rows = runs[0].encode(fresh)
    rows = replace(rows, target=fresh["y"].to_numpy())
    # (specs, folds): on the fold's 30 validation rows, and on 1,000 rows that nobody has in life.
    everything = np.arange(FRESH)
    validation = np.array(
        [[_error(one, f, one.design, one.scored[f]) for f in range(FOLDS)] for one in runs]
    )
    real = np.array([[_error(one, f, rows, everything) for f in range(FOLDS)] for one in runs])
    chosen, folds = validation.argmin(0), np.arange(FOLDS)
    promised = validation.mean(0) - validation[chosen, folds]
    kept = real.mean(0) - real[chosen, folds]
    optimism = promised - kept
    standard_error = float(optimism.std(ddof=1) / np.sqrt(FOLDS))

    vault = Vault(faint(FRESH, SEED + 2_000))
    winner = int(validation.mean(1).argmin())
    final = vault.open(f"spec {winner}", runs[winner])
    refused = 0
    try:
        vault.open("one more try", runs[0])
    except PermissionError:
        refused += 1
    return Outcome(
        figures=[
            Figures(
                title=f"choice among {SPECS} specs on {ROWS // FOLDS} rows, mean of {FOLDS} times",
                columns=["error", "validation rows", "fresh rows"],
                rows=[
                    ["of all specs", validation.mean(), real.mean()],
                    ["of the chosen", validation[chosen, folds].mean(), real[chosen, folds].mean()],
                    ["gain", promised.mean(), kept.mean()],
                ],
            ),
            Figures(
                title="the log of the vault",
                columns=["opened for", "error"],
                rows=[[who, error] for who, error in vault.log],
            ),
        ],
        plots=[
            Plot(
                title="gain over the mean of all specs: promised and kept",
                kind="bars",
                x="which rows chose",
                y="rmse",
                series=[
                    Series(
                        name=name,
                        x=[str(place + 1) for place in range(FOLDS)],
                        y=gain.tolist(),
                    )
                    for name, gain in (("promised", promised), ("kept", kept))
                ],
            )
        ],
        checks=[
            Check.at_least("optimism of the choice, rmse", optimism.mean(), 0.01),
            Check.at_least(
                "the same in its standard errors", optimism.mean() / standard_error, 2.0
            ),
            Check.at_most(
                "distance of the vault's error from that of the same spec on fresh rows, share",
                abs(final / real[winner].mean() - 1),
                0.08,
            ),
            Check.at_most("openings in the vault's log", len(vault.log), 1),
            Check.at_least("second openings that were refused", refused, 1),
        ],
    )


def _error(run: Run, fold: int, design: Design, rows: NDArray[np.int64]) -> float:
    """Of a fold's model on some rows."""
    found = predict(run.served.fold(fold), design.numbers[rows], design.codes[rows])
    return _rmse(found.values, design.target[rows])


def _rmse(predicted: Vector, actual: Vector) -> float:
    return float(np.sqrt(np.mean((predicted - actual) ** 2)))
