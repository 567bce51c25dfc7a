"""More powers of x fit 30 rows ever better, and other rows ever worse."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.polynomial import legendre
from numpy.typing import NDArray

from lessons.lab import Lab
from lessons.outcome import Check, Figures, Outcome, Plot

SEED = 0
ROWS, FRESH = 30, 2_000
DRAWS = 25  # of 30 rows: by chance, one of them may be fitted well
DEGREES = range(1, 20)
NOISE = 0.3
SHOWN = (1, 3, 5, 9, 14, 19)

Vector = NDArray[np.float64]


def wave(rows: int, seed: int) -> tuple[Vector, Vector]:
    """x between −1 and 1, and a wave with noise."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, rows)
    return x, np.sin(4 * x) + rng.normal(0, NOISE, rows)


def powers(x: Vector, degree: int) -> Vector:
    """(n, degree): polynomials of degree 1 to `degree`. Legendre's, which span the same curves as
    the powers of x and keep the arithmetic accurate."""
    columns: Vector = legendre.legvander(x, degree)[:, 1:].astype(np.float64)
    return columns


def table(x: Vector, y: Vector) -> pd.DataFrame:
    columns = powers(x, DEGREES[-1]).T
    return pd.DataFrame({f"P{place + 1}": one for place, one in enumerate(columns)} | {"y": y})


def run(lab: Lab) -> Outcome:
    fresh_x, fresh_y = wave(FRESH, SEED + 1_000_000)
    draws = [wave(ROWS, SEED + draw) for draw in range(DRAWS)]
    # (draws, degrees)
    errors = [_errors_by_degree(*draw, fresh_x, fresh_y) for draw in draws]
    train = np.array([one[0] for one in errors])
    test = np.array([one[1] for one in errors])
    seen, unseen = np.median(train, axis=0), np.median(test, axis=0)
    ridge = lab.train(
        table(*draws[0]),
        target="y",
        k_folds=5,
        architecture={"type": "ridge"},
        preprocessing={"numeric_scaling": "standard", "target_transform": "none"},
    )
    held_back = _rmse(ridge.predict(table(fresh_x, fresh_y)), fresh_y)
    best = int(np.argmin(unseen))
    degrees = [float(degree) for degree in DEGREES]
    return Outcome(
        figures=[
            Figures(
                title=f"root mean squared error, median of {DRAWS} draws; noise is {NOISE:g}",
                columns=["degree", f"{ROWS} training rows", f"{FRESH:,} other rows"],
                rows=[[degree, seen[degree - 1], unseen[degree - 1]] for degree in SHOWN],
            ),
            Figures(
                title=f"degree {DEGREES[-1]} on the first draw, {FRESH:,} other rows",
                columns=["method", "rmse"],
                rows=[["least squares", test[0, -1]], ["ridge", held_back]],
            ),
        ],
        plots=[
            Plot.lines(
                "error by degree",
                "degree",
                "rmse",
                {"training rows": (degrees, seen.tolist()), "others": (degrees, unseen.tolist())},
                logarithmic="y",
            )
        ],
        checks=[
            Check.at_most(
                "largest rise of a training error with the degree",
                np.diff(train, axis=1).max(),
                1e-6,
            ),
            Check.at_most("training error at degree 19, of degree 1", seen[-1] / seen[0], 0.5),
            Check.at_least("degree with the lowest error on other rows", DEGREES[best], 3),
            Check.at_most("degree with the lowest error on other rows", DEGREES[best], 10),
            Check.at_least("error at degree 19, of the lowest", unseen[-1] / unseen[best], 5),
            Check.at_most(
                "error of ridge at degree 19, of the lowest", held_back / test[0].min(), 2.5
            ),
        ],
    )


def _errors_by_degree(
    x: Vector, y: Vector, fresh_x: Vector, fresh_y: Vector
) -> tuple[list[float], list[float]]:
    """On the rows that were fitted, and on others."""
    train, test = [], []
    for degree in DEGREES:
        inputs = np.column_stack([np.ones(len(x)), powers(x, degree)])
        weights = np.linalg.lstsq(inputs, y, rcond=None)[0]
        fresh = np.column_stack([np.ones(len(fresh_x)), powers(fresh_x, degree)])
        train.append(_rmse(inputs @ weights, y))
        test.append(_rmse(fresh @ weights, fresh_y))
    return train, test


def _rmse(predicted: Vector, actual: Vector) -> float:
    return float(np.sqrt(np.mean((predicted - actual) ** 2)))
