"""Accuracy and time of foldhouse and of what people would use instead, on one table.

A fifth of the rows is held out; every method trains on the same other rows with the same columns
and all cores, in a process of its own. Seconds are those of training and of pricing the held-out
rows, without imports.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.contest import Contest, Vector, deal, error, train
from benchmarks.houses import CORES, rows_of, table_arguments
from benchmarks.measurement import TooSlow, measure

# Cross-validated and averaged as foldhouse's are. TabM averages 32 networks as it is: five of it
# take half an hour of two cores for 2,344 rows.
REALMLP_FOLDS = 5
TABM_FOLDS = 1
# What the paper trains it with, as far as a spec says it (arXiv 2407.04491).
REALMLP: dict[str, Any] = {
    "architecture": {"type": "realmlp"},
    "optimizer": {"learning_rate": 0.1, "schedule": "cosine"},
    "batch_size": 256,
    "dropout": 0.15,
}


# Prepares, imports included, and gives what is timed: training and predicting the unseen rows.
Method = Callable[[Contest], Callable[[], Vector]]


class Regressor(Protocol):
    def fit(self, x: pd.DataFrame, y: Vector) -> object: ...
    def predict(self, x: pd.DataFrame) -> Vector: ...


def main(arguments: Sequence[str] = ()) -> None:
    parser = table_arguments(__doc__)
    parser.add_argument("--splits", type=int, default=1, help="at random; the means are printed")
    parser.add_argument("--limit", type=float, default=1_800, help="seconds that a method may take")
    given = parser.parse_args(arguments)
    rows = rows_of(given)
    print(f"{len(rows):,} rows, {CORES} cores, means over {given.splits} random splits\n")
    print("| | error | of foldhouse's | seconds | of foldhouse's |")
    print("| --- | --- | --- | --- | --- |")
    own: Score | None = None
    for name in METHODS:
        try:
            score = mean_score(name, rows, given)
        except TooSlow:
            print(f"| {name} | | | over {given.limit:,.0f} | |", flush=True)
            continue
        own = own or score
        print(
            f"| {name} | {score.error:#.4g} | {score.error / own.error:.3f} × | "
            f"{score.seconds:.1f} | {score.seconds / own.seconds:.2f} × |",
            flush=True,
        )


@dataclass(frozen=True)
class Score:
    """`error`: root mean square on the unseen rows, of the logarithm of a positive target."""

    error: float
    seconds: float


def mean_score(name: str, rows: pa.Table, given: argparse.Namespace) -> Score:
    scores = [
        measure(score, name, rows, given.target, split, limit=given.limit).result
        for split in range(given.splits)
    ]
    return Score(fmean(one.error for one in scores), fmean(one.seconds for one in scores))


def score(name: str, rows: pa.Table, target: str, split: int) -> Score:
    """One method on one split."""
    contest = deal(rows, target, split)
    run = METHODS[name](contest)
    began = time.perf_counter()
    predicted = run()
    return Score(error(contest.y_unseen, predicted), time.perf_counter() - began)


def foldhouse(contest: Contest, **spec: Any) -> Callable[[], Vector]:
    return lambda: train(contest, **spec).predict(contest)


def scikit_learn(contest: Contest) -> Callable[[], Vector]:
    """Early stopping is not its default, and better than the default here."""
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), contest.numeric),
            ("words", OneHotEncoder(handle_unknown="ignore"), contest.categorical),
        ]
    )
    network = make_pipeline(columns, MLPRegressor(early_stopping=True, random_state=0))
    return fitted(TransformedTargetRegressor(network, transformer=StandardScaler()), contest)


# The rest are imported where they are used: several OpenMP runtimes in one process hinder each
# other.


def catboost(contest: Contest) -> Callable[[], Vector]:
    from catboost import CatBoostRegressor

    model = CatBoostRegressor(
        cat_features=contest.categorical,
        thread_count=CORES,
        random_seed=0,
        verbose=False,
        allow_writing_files=False,
    )
    return fitted(model, contest)


def lightgbm(contest: Contest) -> Callable[[], Vector]:
    from lightgbm import LGBMRegressor

    return fitted(LGBMRegressor(n_jobs=CORES, random_state=0, verbose=-1), contest)


def realmlp(contest: Contest) -> Callable[[], Vector]:
    from pytabkit import RealMLP_TD_Regressor

    return pytabkit(RealMLP_TD_Regressor, REALMLP_FOLDS, contest)


def tabm(contest: Contest) -> Callable[[], Vector]:
    from pytabkit import TabM_D_Regressor

    return pytabkit(TabM_D_Regressor, TABM_FOLDS, contest)


def pytabkit(
    regressor: Callable[..., Regressor], folds: int, contest: Contest
) -> Callable[[], Vector]:
    """Its estimators take no missing numbers: they get the mean of the training rows."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    model = regressor(device="cpu", n_cv=folds, n_threads=CORES, random_state=0)
    numbers = ColumnTransformer(
        [("numbers", SimpleImputer(), contest.numeric)],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    return fitted(make_pipeline(numbers, model), contest)


def fitted(model: Regressor, contest: Contest) -> Callable[[], Vector]:
    def run() -> Vector:
        model.fit(contest.x, contest.y)
        return np.asarray(model.predict(contest.x_unseen), np.float64).ravel()

    return run


METHODS: dict[str, Method] = {
    "foldhouse": foldhouse,
    "foldhouse, `realmlp`": partial(foldhouse, **REALMLP),
    "scikit-learn MLPRegressor": scikit_learn,
    "CatBoost": catboost,
    "LightGBM": lightgbm,
    f"pytabkit RealMLP_TD, n_cv={REALMLP_FOLDS}": realmlp,
    f"pytabkit TabM_D, n_cv={TABM_FOLDS}": tabm,
}


if __name__ == "__main__":
    main(sys.argv[1:])
