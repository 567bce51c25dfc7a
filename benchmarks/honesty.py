"""The error that a method reports, against its error on rows that it never saw.

Random splits: each method trains on four fifths of the rows and says how wrong it is; the last
fifth says how wrong it really is. What a cross-validation estimates is the error of one fold's
model, so that is what a report is divided by: 1 is honest, below 1 is too good to be true.

A split's error hangs on which rare houses are among the unseen: splits come in rounds of five in
which each row is unseen once, and a round's errors are pooled.

Preprocessing is learnt in each fold by every method: nothing leaks here but the choice of the epoch
or of the number of trees.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import stdev
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from benchmarks import plots
from benchmarks.contest import ROUND, Contest, Vector, deal, error, train
from benchmarks.houses import CORES, rows_of, table_arguments
from models.evaluation.scores import refine

FOLDS = 5
EPOCHS = 60  # of the loop
BATCH = 64
PATIENCE = 50  # trees without improvement
MOST_TREES = 2_000
# Its own choice is about half of the rate and takes twice the trees; words as one-hot columns take
# a sixth of the time of its statistics of the target. Neither changes what is shown here.
CATBOOST = {"learning_rate": 0.1, "one_hot_max_size": 255}

Rows = NDArray[np.int64]

# These choose nothing by the rows that they are scored on.
HONEST = ("foldhouse", "loop, last epoch")


@dataclass(frozen=True)
class Claim:
    """`reported`: the error that the method tells. `one`: that of one fold's model on unseen rows,
    the root mean square over the folds. `mean`: that of the folds' mean prediction, on the same."""

    reported: float
    one: float
    mean: float


def main(arguments: Sequence[str] = ()) -> None:
    parser = table_arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=4, help=f"of {ROUND} splits")
    given = parser.parse_args(arguments)
    rows = rows_of(given)
    splits = given.rounds * ROUND
    # Nothing is timed here: a split a core, each on one thread.
    with ProcessPoolExecutor(CORES, get_context("spawn"), initializer=use_one_thread) as pool:
        work = [pool.submit(claims, rows, given.target, split) for split in range(splits)]
        by_split = [split.result() for split in work]
    by_method = {name: [split[name] for split in by_split] for name in by_split[0]}
    print(f"{len(rows):,} rows, {splits} random splits, {FOLDS} folds\n")
    print("| | reported | unseen, one fold's model | reported ÷ it | unseen, mean of the folds |")
    print("| --- | --- | --- | --- | --- |")
    for name, own in by_method.items():
        print(
            f"| {name} | {pooled(own, 'reported'):#.4g} | {pooled(own, 'one'):#.4g} | "
            f"{ratio(own):.3f} ± {spread(ratios(own)):.3f} | {pooled(own, 'mean'):#.4g} |"
        )
    plot(by_method)


def pooled(claims: list[Claim], error: str) -> float:
    """The root mean square of one of the errors of some splits."""
    return float(np.sqrt(np.mean([getattr(claim, error) ** 2 for claim in claims])))


def ratio(claims: list[Claim]) -> float:
    return pooled(claims, "reported") / pooled(claims, "one")


def ratios(claims: list[Claim]) -> list[float]:
    """Of each round."""
    return [ratio(claims[first : first + ROUND]) for first in range(0, len(claims), ROUND)]


def spread(ratios: list[float]) -> float:
    """Standard deviation between rounds, NaN of a single one."""
    return stdev(ratios) if len(ratios) > 1 else math.nan


def use_one_thread() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)


def claims(rows: pa.Table, target: str, split: int) -> dict[str, Claim]:
    """What each method says of one split, and what is true."""
    contest = deal(rows, target, split)
    last, best = loop(contest, seed=split)
    return {
        "foldhouse": foldhouse(contest, seed=split),
        "loop, last epoch": last,
        "loop, best epoch by the scored fold": best,
        "LightGBM, stopped by the scored fold": lightgbm(contest, seed=split),
        "CatBoost, stopped by the scored fold": catboost(contest, seed=split),
        "MLPRegressor, best_validation_score_": scikit_learn(contest, seed=split),
    }


def foldhouse(contest: Contest, seed: int) -> Claim:
    """Its default spec, and the report of a job."""
    trained = train(contest, cores=1, k_folds=FOLDS, seed=seed)
    task = trained.task
    found = refine(trained.served, task.spec, task.design, task.folds)
    out_of_fold, actual = contest.learnt(found.prediction), contest.learnt(task.design.target)
    return Claim(
        error(actual, out_of_fold),
        error(contest.y_unseen, np.stack(trained.predict_by_fold(contest))),
        error(contest.y_unseen, trained.predict(contest)),
    )


class Folds:
    """Out-of-fold and unseen predictions of a cross-validation, as they come in."""

    def __init__(self, contest: Contest) -> None:
        self._contest = contest
        self._out_of_fold = np.full(len(contest.y), np.nan)
        self._unseen: list[Vector] = []

    def add(self, scored: Rows, out_of_fold: Vector, unseen: Vector) -> None:
        self._out_of_fold[scored] = out_of_fold
        self._unseen.append(unseen)

    def claim(self) -> Claim:
        actual, unseen = self._contest.y_unseen, np.stack(self._unseen)
        return Claim(
            error(self._contest.y, self._out_of_fold),
            error(actual, unseen),
            error(actual, unseen.mean(0)),
        )


def dealt(contest: Contest, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """(training rows, scored rows) of each fold."""
    yield from KFold(FOLDS, shuffle=True, random_state=seed).split(contest.y)


def loop(contest: Contest, seed: int) -> tuple[Claim, Claim]:
    """The k-fold loop of many notebooks, ended after its last epoch, and with the epoch of each
    fold that scored best on that fold."""
    last, best = Folds(contest), Folds(contest)
    for train_rows, scored in dealt(contest, seed):
        torch.manual_seed(seed)
        epochs = list(loop_epochs(contest, train_rows, scored))
        last.add(scored, *epochs[-1])
        best.add(scored, *min(epochs, key=lambda epoch: error(contest.y[scored], epoch[0])))
    return last.claim(), best.claim()


def loop_epochs(
    contest: Contest, train_rows: Rows, scored: Rows
) -> Iterator[tuple[Vector, Vector]]:
    """Predictions of the scored rows and of the unseen ones after each epoch."""
    encoder = one_hot(contest).fit(contest.x.iloc[train_rows])
    x, x_scored, x_unseen = (
        torch.from_numpy(encoder.transform(frame).astype(np.float32))
        for frame in (contest.x.iloc[train_rows], contest.x.iloc[scored], contest.x_unseen)
    )
    center, scale = contest.y[train_rows].mean(), contest.y[train_rows].std()
    y = torch.from_numpy((contest.y[train_rows] - center) / scale).float().unsqueeze(1)
    network = nn.Sequential(
        *(nn.Linear(x.shape[1], 256), nn.ReLU(), nn.Dropout(0.1)),
        *(nn.Linear(256, 64), nn.ReLU(), nn.Dropout(0.1)),
        nn.Linear(64, 1),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)

    @torch.no_grad()
    def predict(inputs: Tensor) -> Vector:
        outputs: Vector = network(inputs).double().numpy()[:, 0] * scale + center
        return outputs

    for _ in range(EPOCHS):
        network.train()
        for batch in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.mse_loss(network(x[batch]), y[batch]).backward()
            optimizer.step()
        network.eval()
        yield predict(x_scored), predict(x_unseen)


def lightgbm(contest: Contest, seed: int) -> Claim:
    from lightgbm import LGBMRegressor, early_stopping

    def fit(x: pd.DataFrame, y: Vector, x_scored: pd.DataFrame, y_scored: Vector) -> Any:
        model = LGBMRegressor(n_estimators=MOST_TREES, n_jobs=1, random_state=seed, verbose=-1)
        stop = early_stopping(PATIENCE, verbose=False)
        return model.fit(x, y, eval_X=x_scored, eval_y=y_scored, callbacks=[stop])

    return boosted(contest, seed, fit)


def catboost(contest: Contest, seed: int) -> Claim:
    from catboost import CatBoostRegressor

    def fit(x: pd.DataFrame, y: Vector, x_scored: pd.DataFrame, y_scored: Vector) -> Any:
        model = CatBoostRegressor(
            iterations=MOST_TREES,
            **CATBOOST,
            early_stopping_rounds=PATIENCE,
            cat_features=contest.categorical,
            thread_count=1,
            random_seed=seed,
            verbose=False,
            allow_writing_files=False,
        )
        return model.fit(x, y, eval_set=(x_scored, y_scored))

    return boosted(contest, seed, fit)


def boosted(contest: Contest, seed: int, fit: Callable[..., Any]) -> Claim:
    """Trees of each fold, as many as its own scored rows like best."""
    folds = Folds(contest)
    for train_rows, scored in dealt(contest, seed):
        x_scored, y_scored = contest.x.iloc[scored], contest.y[scored]
        model = fit(contest.x.iloc[train_rows], contest.y[train_rows], x_scored, y_scored)
        folds.add(scored, model.predict(x_scored), model.predict(contest.x_unseen))
    return folds.claim()


def scikit_learn(contest: Contest, seed: int) -> Claim:
    """One network without folds. Its score is an R² on a tenth of the training rows, the best of
    all epochs; the share that is not explained, times the target's variance, is a square error."""
    network = MLPRegressor(early_stopping=True, random_state=seed)
    model = TransformedTargetRegressor(
        make_pipeline(one_hot(contest), network), transformer=StandardScaler()
    ).fit(contest.x, contest.y)
    best = model.regressor_[-1].best_validation_score_
    unseen = error(contest.y_unseen, model.predict(contest.x_unseen))
    return Claim(float(np.sqrt(1 - best) * contest.y.std()), unseen, unseen)


def one_hot(contest: Contest) -> ColumnTransformer:
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), contest.numeric),
            ("words", OneHotEncoder(handle_unknown="ignore"), contest.categorical),
        ],
        sparse_threshold=0,
    )


def plot(by_method: dict[str, list[Claim]]) -> None:
    """A dot a round and a bar for all of them, method under method."""
    figure, ((axes,),) = plots.panels(1, 1, width=8, height=0.45 * len(by_method) + 0.8)
    for place, (name, claims) in enumerate(by_method.items()):
        color = plots.BLUE if name in HONEST else plots.RED
        dots = ratios(claims)
        axes.scatter(dots, [place] * len(dots), s=28, color=color, alpha=0.5, linewidths=0)
        axes.vlines(ratio(claims), place - 0.3, place + 0.3, color=color, linewidth=3)
        axes.annotate(
            f"{ratio(claims):.2f}",
            (1, place),
            (4, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            verticalalignment="center",
            color=color,
        )
    axes.axvline(1, color=plots.INK, linewidth=1)
    axes.set_yticks(range(len(by_method)), list(by_method))
    axes.invert_yaxis()
    axes.set_xlabel("reported error ÷ error on rows never seen (1: honest, below 1: too good)")
    plots.save(figure, "honesty")


if __name__ == "__main__":
    main(sys.argv[1:])
