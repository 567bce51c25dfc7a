"""From a line to a blend on the houses of Ames, and the file that a competition takes."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lessons.houses import PRICE, houses
from lessons.lab import Lab, Run
from lessons.outcome import Check, Figures, Outcome, Plot, Series

SEED = 0
TRAIN, TEST = 1_200, 600  # of the 2,930 sales, so that everything trains within the half minute

Vector = NDArray[np.float64]

# The default blend takes minutes; these are its members in small.
MLP: dict[str, Any] = {
    "architecture": {"type": "mlp", "hidden_sizes": [64, 32], "linear_path": "least_squares"},
    "dropout": 0.1,
    "max_epochs": 25,
}
MEMBERS: list[dict[str, Any]] = [
    {"architecture": {"type": "ridge"}},
    {"architecture": {"type": "boosted_trees", "iterations": 200, "learning_rate": 0.05}},
    {"architecture": {"type": "kernel"}},
    MLP,
]


def run(lab: Lab) -> Outcome:
    sample = houses(TRAIN + TEST, SEED)
    train, hidden = sample[:TRAIN], sample[TRAIN:].reset_index(drop=True)
    test = hidden.drop(columns=PRICE)
    truth = hidden[PRICE].to_numpy(float)
    shared: dict[str, Any] = {
        "target": PRICE,
        "k_folds": 3,
        "features": {"exclude": ["Id"]},
        "preprocessing": {"target_transform": "log"},
    }
    line = lab.train(train, architecture={"type": "ridge"}, **shared)
    network = lab.train(train, **MLP, **shared)
    blend = lab.train(train, members=MEMBERS, **shared)
    mean = np.full(TEST, np.exp(np.log(train[PRICE]).mean()))
    found = {"a line (ridge)": line, "MLP": network, "blend": blend}
    priced = {name: one.predict(test) for name, one in found.items()}
    scores = {name: _rmsle(prices, truth) for name, prices in priced.items()}
    own = {name: _own(one) for name, one in found.items()}

    sent = submission(test["Id"], priced["blend"])
    received = list(csv.DictReader(io.StringIO(sent)))
    ids = {int(row["Id"]) for row in received}
    wrong = len(ids ^ set(test["Id"])) + sum(not float(row[PRICE]) > 0 for row in received)
    scored = _rmsle(np.array([float(row[PRICE]) for row in received]), truth)
    return Outcome(
        figures=[
            Figures(
                title=f"RMSLE, trained on {TRAIN:,} sales",
                columns=["model", "out of fold", f"{TEST} sales of the test file"],
                rows=[
                    ["the mean", None, _rmsle(mean, truth)],
                    *([name, own[name], score] for name, score in scores.items()),
                ],
            ),
            Figures(
                title="the submission file begins",
                columns=["Id", PRICE],
                rows=[[row["Id"], row[PRICE]] for row in received[:4]],
            ),
        ],
        plots=[
            Plot(
                title="RMSLE on the test file",
                kind="bars",
                x="model",
                y="rmsle",
                series=[Series(name="rmsle", x=list(scores), y=list(scores.values()))],
            )
        ],
        checks=[
            Check.at_most(
                "error of the line, of the mean",
                scores["a line (ridge)"] / _rmsle(mean, truth),
                0.5,
            ),
            Check.at_most(
                "error of the MLP, of the line", scores["MLP"] / scores["a line (ridge)"], 1.05
            ),
            Check.at_most(
                "error of the blend, of the line", scores["blend"] / scores["a line (ridge)"], 0.99
            ),
            Check.at_most(
                "distance of the blend's error out of fold from that on the test file, share",
                abs(own["blend"] / scores["blend"] - 1),
                0.3,
            ),
            Check.at_most(
                "rows of the submission that are missing, twice there or no price", wrong, 0
            ),
            Check.at_most("RMSLE of the file as it is read back", scored, 0.17),
        ],
        note=f"Trained on {TRAIN:,} of the sales in three folds, with small members; the blend of "
        "a spec with only a target takes minutes.",
    )


def submission(ids: pd.Series[int], prices: Vector) -> str:
    """A CSV as Kaggle takes it: a header and a row for each house of the test file."""
    return pd.DataFrame({"Id": ids, PRICE: np.round(prices, 2)}).to_csv(index=False)


def _own(run: Run) -> float:
    """The error that the model promises, out of fold."""
    return float(run.metrics["rmsle"] or np.nan)


def _rmsle(predicted: Vector, actual: Vector) -> float:
    return float(np.sqrt(np.mean((np.log(predicted) - np.log(actual)) ** 2)))
