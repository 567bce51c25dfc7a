"""The perceptron stops within Novikoff's bound if there is a gap, and never if there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lessons.lab import Lab, Run
from lessons.outcome import Cell, Check, Figures, Outcome, Plot
from models.evaluation.perceptron import perceptron_report

SEED = 0
ROWS = 100
GAPS = (0.2, 0.02)  # distance of the nearest rows from the line
GAPS_BY_NAME = {f"a gap of {gap:g}": gap for gap in GAPS}
EPOCHS = 40
FLIPPED = 0.05  # share of the rows with the wrong class, where no line separates the classes


def two_sides(gap: float, flipped: float, seed: int) -> pd.DataFrame:
    """Points in a square on either side of a line, none nearer to it than `gap`."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1, 1, (2, 20 * ROWS))
    distance = (2 * x + y) / np.sqrt(5)
    kept = np.flatnonzero(np.abs(distance) >= gap)[:ROWS]
    above = (distance[kept] > 0) ^ (rng.random(ROWS) < flipped)
    return pd.DataFrame({"x": x[kept], "y": y[kept], "side": np.where(above, "above", "below")})


def run(lab: Lab) -> Outcome:
    tables = {name: two_sides(gap, 0, SEED) for name, gap in GAPS_BY_NAME.items()}
    tables["5 % flipped"] = two_sides(GAPS[0], FLIPPED, SEED)
    runs = {
        name: lab.train(
            frame,
            target="side",
            k_folds=2,
            architecture={"type": "perceptron"},
            preprocessing={"numeric_scaling": "none"},
            max_epochs=EPOCHS,
        )
        for name, frame in tables.items()
    }
    reports = {name: _reports(one) for name, one in runs.items()}
    # Novikoff's bound holds for any line that separates the rows: the one that was found, and the
    # one that the table was made with.
    made = {
        name: [(row["radius"] / gap) ** 2 for row in reports[name]]
        for name, gap in GAPS_BY_NAME.items()
    }
    with_gap = [row for name in GAPS_BY_NAME for row in reports[name]]
    without = reports["5 % flipped"]
    rows: list[list[Cell]] = [
        [
            name,
            row["fold"],
            row["updates"],
            row["bound"],
            made[name][place] if name in made else None,
            row["epochs"],
            "yes" if row["converged"] else "no",
        ]
        for name, report in reports.items()
        for place, row in enumerate(report)
    ]
    return Outcome(
        figures=[
            Figures(
                title="mistakes in training",
                columns=[
                    "table",
                    "fold",
                    "mistakes",
                    "(R / ρ)²",
                    "(R / gap)²",
                    "epochs",
                    "stopped",
                ],
                rows=rows,
            )
        ],
        plots=[
            Plot.lines(
                f"perceptron loss of each epoch, {' and '.join(shown)}",
                "epoch",
                "loss",
                {name: runs[name].curve("train_loss", fold=0) for name in shown},
            )
            for shown in [(f"a gap of {GAPS[-1]:g}", "5 % flipped")]
        ],
        checks=[
            Check.at_least(
                "share of the runs with a gap that stop by themselves",
                np.mean([row["converged"] for row in with_gap]),
                1.0,
            ),
            Check.at_most(
                "largest ratio of mistakes to (R / ρ)²",
                np.max([row["updates"] / (row["bound"] or np.nan) for row in with_gap]),
                1.0,
            ),
            Check.at_most(
                "largest ratio of mistakes to (R / gap)²",
                np.max(
                    [
                        row["updates"] / bound
                        for name, bounds in made.items()
                        for row, bound in zip(reports[name], bounds, strict=True)
                    ]
                ),
                1.0,
            ),
            Check.at_most(
                "runs without a gap that stop by themselves",
                sum(row["converged"] for row in without),
                0,
            ),
            Check.at_least(
                "mistakes of each epoch without a gap, on average",
                min(row["updates"] / row["epochs"] for row in without),
                1.0,
            ),
        ],
    )


def _reports(run: Run) -> list[dict[str, Any]]:
    """What the perceptron of each fold did."""
    return perceptron_report(run.served, run.spec, run.design, run.folds, run.courses)
