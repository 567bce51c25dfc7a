"""Missing cells, words, and what may be learnt from which rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lessons.houses import PRICE, houses
from lessons.lab import Lab, Run
from lessons.outcome import Check, Figures, Outcome, Plot, Series

SEED = 0
ROWS = 1_000
AGENTS = 1_500
# Ridge regression takes no group means. This line does: least squares, which one small step of
# training leaves where it is. The three rows that are compared with each other all use it.
TAKES_GROUP_MEANS: dict[str, Any] = {
    "architecture": {"type": "linear"},
    "optimizer": {"learning_rate": 1e-6},
    "max_epochs": 1,
    "early_stopping": None,
}
NUMBERS = ["LotFrontage", "LotArea", "OverallQual", "YearBuilt", "TotalBsmtSF", "GrLivArea"]
WORDS = "Neighborhood"


def run(lab: Lab) -> Outcome:
    frame = houses(ROWS, SEED)[[*NUMBERS, WORDS, PRICE]]
    rng = np.random.default_rng(SEED)
    # The name of an agent who has nothing to do with the price.
    agent = pd.Series([f"agent {number}" for number in rng.integers(AGENTS, size=ROWS)])
    plain = frame.drop(columns=WORDS)
    gap = frame["LotFrontage"]
    place = frame[WORDS].map({name: at for at, name in enumerate(sorted(frame[WORDS].unique()))})
    of_agent = frame[PRICE].groupby(agent).transform("mean")

    # The line on what is left to it, one preparation after another.
    filled = _line(lab, plain)
    dropped = _line(lab, plain, preprocessing={"numeric_missing": "drop_rows"})
    filled_before = _line(lab, plain.assign(LotFrontage=gap.fillna(gap.mean())))
    as_number = _line(lab, plain.assign(place=place))
    as_columns = _line(lab, frame)
    honest = _line(lab, frame, **TAKES_GROUP_MEANS)
    leaked = _line(lab, frame.assign(mean_of_agent=of_agent), **TAKES_GROUP_MEANS)
    in_fold = _line(
        lab,
        frame.assign(agent=agent),
        **TAKES_GROUP_MEANS,
        features={"group_means": ["agent"], "comparables": [], "kinds": {"agent": "categorical"}},
    )
    error = {
        "missing numbers filled with the fold's mean": _rmsle(filled),
        "rows with missing numbers dropped from training": _rmsle(dropped),
        "filled with the mean of all rows": _rmsle(filled_before),
        "neighbourhoods numbered by the alphabet": _rmsle(as_number),
        "a column for each neighbourhood": _rmsle(as_columns),
        "the same, least squares": _rmsle(honest),
        "and the agent's mean price, from all rows": _rmsle(leaked),
        "and the agent's mean price, from the fold": _rmsle(in_fold),
    }
    trained = {
        name: sum(len(fold.train) for fold in one.folds)
        for name, one in (("filled", filled), ("dropped", dropped))
    }
    lost = 1 - trained["dropped"] / trained["filled"]
    tempted = _rmsle(leaked) / _rmsle(honest)
    return Outcome(
        figures=[
            Figures(
                title="error of a line out of fold (RMSLE)",
                columns=["preparation", "error"],
                rows=[[name, value] for name, value in error.items()],
            ),
            Figures(
                title="size",
                columns=["of what", "number"],
                rows=[
                    ["missing cells of LotFrontage", int(gap.isna().sum())],
                    ["neighbourhoods, each a column of zeros and ones", frame[WORDS].nunique()],
                    ["share of the training rows that dropping loses", lost],
                ],
            ),
        ],
        plots=[
            Plot(
                title="error with an agent's mean price, RMSLE",
                kind="bars",
                x="mean taken",
                y="rmsle",
                series=[
                    Series(
                        name="error",
                        x=["not at all", "from all rows", "in the fold"],
                        y=[_rmsle(honest), _rmsle(leaked), _rmsle(in_fold)],
                    )
                ],
            )
        ],
        checks=[
            Check.at_least("share of the training rows that dropping loses", lost, 0.1),
            Check.at_most(
                "error with a column a word, of that with numbered words",
                _rmsle(as_columns) / _rmsle(as_number),
                0.99,
            ),
            Check.at_least(
                "change of the error by filling before the folds are laid, share",
                abs(_rmsle(filled_before) / _rmsle(filled) - 1),
                1e-9,
            ),
            Check.at_most("error promised by the leaked mean of the target", tempted, 0.95),
            Check.at_least(
                "error with the mean learnt in the fold",
                _rmsle(in_fold) / _rmsle(honest),
                0.98,
            ),
        ],
    )


def _line(lab: Lab, frame: pd.DataFrame, **more: Any) -> Run:
    """Ridge regression of the log price."""
    preparation = {"target_transform": "log"} | more.pop("preprocessing", {})
    settings = {"architecture": {"type": "ridge"}} | more
    return lab.train(
        frame, target=PRICE, k_folds=3, seed=SEED, preprocessing=preparation, **settings
    )


def _rmsle(run: Run) -> float:
    return float(run.metrics["rmsle"] or np.nan)
