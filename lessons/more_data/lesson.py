"""Errors fall with more rows by a law, and the law says what twice the rows would bring."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lessons.lab import Lab, Vector
from lessons.outcome import Check, Figures, Outcome, Plot
from models.evaluation import learning_curve
from models.export.served import predict

ALL = 800  # training rows
SIZES = (ALL // 8, ALL // 4, ALL // 2, ALL)
TABLES = 2  # of each size, with two folds that share no training row
COLUMNS = 40
NEW_ROWS = 1_000
NOISE = 0.5  # standard deviation of what no column explains
EPOCHS = 1  # it starts at its solution


def smooth(rows: int, table: int = 0, seed: int = 0) -> pd.DataFrame:
    """A target that is linear in many columns, and noise."""
    direction = np.random.default_rng([seed, 0]).normal(size=COLUMNS) / np.sqrt(COLUMNS)
    rng = np.random.default_rng([seed, rows, table])
    x = rng.normal(size=(rows, COLUMNS))
    frame = pd.DataFrame(x, columns=[f"x{place}" for place in range(COLUMNS)])
    return frame.assign(y=x @ direction + NOISE * rng.normal(size=rows))


def run(lab: Lab) -> Outcome:
    new = smooth(NEW_ROWS)
    errors = np.array([errors_with(lab, size, new) for size in SIZES])  # (sizes, models)
    means = errors.mean(1)
    # The relative noise is taken to be the same at each size: four models are few.
    relative = float(np.sqrt(np.mean(errors.var(1, ddof=1) / means**2) / errors.shape[1]))
    curve = learning_curve.fit(np.array(SIZES, float), means, np.diag(np.square(relative * means)))
    forecast = curve.forecast(2 * ALL)
    # The interval holds 90 % of the mass, as 1.645 deviations to each side of a normal one do.
    deviation = (forecast.high - forecast.low) / (2 * 1.645)
    truth = float(errors_with(lab, 2 * ALL, new).mean())

    every = np.geomspace(SIZES[0], 2 * ALL, 30)
    return Outcome(
        figures=[
            Figures(
                title="error on new rows",
                columns=[
                    "training rows",
                    "mean squared error",
                    "standard error",
                    "the law",
                    "theory",
                ],
                rows=[
                    [size, mean, relative * mean, curve.law.at(size), theory(size)]
                    for size, mean in zip(SIZES, means.tolist(), strict=True)
                ],
            ),
            Figures(
                title=f"forecast of {2 * ALL} rows",
                columns=["figure", "mean squared error"],
                rows=[
                    ["forecast", forecast.error],
                    ["from (5 %)", forecast.low],
                    ["to (95 %)", forecast.high],
                    [f"measured with {2 * ALL} rows", truth],
                    ["noise that no model can explain", NOISE**2],
                ],
            ),
            Figures(
                title="the law: a + b · rows^(−c)",
                columns=["a", "b", "c"],
                rows=[[curve.law.floor, curve.law.scale, curve.law.exponent]],
            ),
        ],
        plots=[
            Plot.lines(
                "error against rows",
                "training rows",
                "mean squared error",
                {
                    "measured": (SIZES, means.tolist()),
                    "the law": (every.tolist(), [curve.law.at(rows) for rows in every]),
                    "measured with twice the rows": ([2 * ALL], [truth]),
                },
                logarithmic="xy",
            )
        ],
        checks=[
            Check.at_most(
                "error beyond the noise with all rows, of that with an eighth",
                (means[-1] - NOISE**2) / (means[0] - NOISE**2),
                0.6,
            ),
            Check.at_most(
                "law against measurement, relative, most",
                max(
                    abs(curve.law.at(size) / mean - 1)
                    for size, mean in zip(SIZES, means, strict=True)
                ),
                0.15,
            ),
            Check.at_most(
                "forecast against the error with twice the rows, in standard errors",
                abs(forecast.error - truth) / float(np.hypot(deviation, relative * truth)),
                3,
            ),
            Check.at_most(
                "forecast against the error with twice the rows, relative",
                abs(forecast.error / truth - 1),
                0.25,
            ),
            Check.at_most(
                "error against theory, relative, most",
                max(abs(mean / theory(size) - 1) for size, mean in zip(SIZES, means, strict=True)),
                0.15,
            ),
        ],
    )


def theory(size: int) -> float:
    """The expected error of least squares on so many normal rows: noise times what the weights
    cost."""
    return NOISE**2 * (1 + COLUMNS / (size - COLUMNS - 2)) * (1 + 1 / size)


def errors_with(lab: Lab, size: int, new: pd.DataFrame) -> Vector:
    """(models,) mean squared errors on new rows of lines that trained on so many."""
    found = []
    for table in range(TABLES):
        own = lab.train(
            smooth(2 * size, table=table),
            target="y",
            k_folds=2,
            architecture={"type": "linear"},
            optimizer={"learning_rate": 1e-6},
            batch_size=32,
            dropout=0,
            max_epochs=EPOCHS,
            early_stopping=None,
            preprocessing={"numeric_scaling": "standard", "target_transform": "none"},
        )
        rows = own.encode(new)
        for fold in range(2):
            values = predict(own.served.fold(fold), rows.numbers, rows.codes).values
            found.append(np.mean((values - new["y"].to_numpy()) ** 2))
    return np.array(found)
