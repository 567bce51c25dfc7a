"""Log loss, error and calibration on tables of classes: foldhouse's default spec beside logistic
regression and boosted trees.

A fifth of the rows, stratified by class, is held out, and every method trains on the same other
rows and columns. The tables are those that scikit-learn ships; a folder adds its CSVs, of which the
last column is the target. Seconds are foldhouse's alone, of training and predicting.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.base import ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.contest import Vector, columns_of, frame_of
from benchmarks.houses import CORES, LIMITS, stored
from models.evaluation.scores import refine
from models.export.served import predict
from models.spec import TrainingSpec
from models.tables.arrays import as_levels
from models.tables.table import read_table

UNSEEN = 0.2  # share of the rows
# Inverse strengths of the penalty that the logistic regression chooses from, in five folds of its
# training rows.
STRENGTHS = np.logspace(-3, 4, 8)
STRENGTH_FOLDS = 5
ITERATIONS = 3_000
# Boosted trees take categories up to their number of bins.
MOST_CATEGORIES = 255
ECE_BINS = 10
LEAST = 1e-15  # probability of the true class; the logarithm of 0 is infinite

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Scores:
    """On the unseen rows.

    error : share of wrong classes
    ece : of the predicted class's probability, over bins of equal width
    seconds : of training and predicting
    """

    log_loss: float
    error: float
    ece: float
    seconds: float

    @classmethod
    def of(cls, probabilities: Vector, actual: Codes, seconds: float) -> Scores:
        """Of probabilities (n, C) of classes (n,)."""
        rows = np.arange(len(actual))
        predicted = probabilities.argmax(1)
        sure, right = probabilities[rows, predicted], predicted == actual
        gaps = np.bincount((sure * ECE_BINS).astype(int), sure - right)
        return cls(
            log_loss=float(-np.log(np.maximum(probabilities[rows, actual], LEAST)).mean()),
            error=float(1 - right.mean()),
            ece=float(np.abs(gaps).sum() / len(actual)),
            seconds=seconds,
        )

    @classmethod
    def mean(cls, scores: Sequence[Scores]) -> Scores:
        names = ("log_loss", "error", "ece", "seconds")
        return cls(**{name: fmean(getattr(one, name) for one in scores) for name in names})


@dataclass(frozen=True)
class ClassContest:
    """`train` and `unseen` hold all columns; x and y, indices of the `levels`, are what the rivals
    take."""

    target: str
    levels: list[str]
    numeric: list[str]
    categorical: list[str]
    train: pa.Table
    unseen: pa.Table
    x: pd.DataFrame
    y: Codes
    x_unseen: pd.DataFrame
    y_unseen: Codes


Method = Callable[[ClassContest], Vector]  # to the probabilities of the unseen rows


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, help="of further CSVs")
    parser.add_argument("--splits", type=int, default=5, help="at random; the means are printed")
    parser.add_argument("--only", help="tables whose name has this text")
    given = parser.parse_args(arguments)
    print(f"Means over {given.splits} random splits. × is to the better rival.\n")
    print(
        "| | rows | classes | log loss | logistic | trees | × | error | logistic | trees | × ",
        end="",
    )
    print("| ece | logistic | trees | seconds |")
    print("| --- " * 15 + "|")
    for name, path in tables(given.folder):
        if given.only is None or given.only in name:
            print(line(name, read_table(path, LIMITS).table, given.splits), flush=True)


def tables(folder: Path | None) -> Iterator[tuple[str, Path]]:
    """Name and CSV of each table, as long as it is needed."""
    for load in (
        datasets.load_iris,
        datasets.load_wine,
        datasets.load_breast_cancer,
        datasets.load_digits,
    ):
        with tempfile.TemporaryDirectory() as place:
            name = load.__name__.removeprefix("load_")
            path = Path(place) / f"{name}.csv"
            shipped = load(as_frame=True)
            names = shipped.target_names[shipped.target]
            shipped.data.assign(target=names).to_csv(path, index=False)
            yield name, path
    for path in sorted(folder.glob("*.csv")) if folder else []:
        yield path.stem, path


def line(name: str, rows: pa.Table, splits: int) -> str:
    """A table's row of what is printed."""
    target = rows.column_names[-1]
    rows = rows.filter(rows[target].is_valid())
    contests = [deal(rows, target, split) for split in range(splits)]
    own, *rivals = (
        Scores.mean([score(method, contest) for contest in contests]) for method in METHODS
    )
    cells = [name, f"{len(rows):,}", str(len(contests[0].levels))]
    for measured in ("log_loss", "error"):
        figures = [getattr(scores, measured) for scores in (own, *rivals)]
        cells += [f"{figure:.4f}" for figure in figures]
        better = min(figures[1:])
        cells.append(f"{figures[0] / better:.2f}" if better else "")
    cells += [f"{scores.ece:.3f}" for scores in (own, *rivals)]
    return f"| {' | '.join([*cells, f'{own.seconds:.0f}'])} |"


def deal(rows: pa.Table, target: str, split: int) -> ClassContest:
    """Hold a fifth of the rows out at random, stratified by class."""
    cells = as_levels(rows[target]).to_pylist()
    levels, y = np.unique(cells, return_inverse=True)
    splitter = StratifiedShuffleSplit(1, test_size=UNSEEN, random_state=split)
    [(train, unseen)] = splitter.split(y, y)
    spec = TrainingSpec(target=target, task="classification")
    numeric, categorical = columns_of(spec, rows.take(train))
    x = frame_of(rows, numeric, categorical)
    return ClassContest(
        target,
        levels.tolist(),
        numeric,
        categorical,
        rows.take(train),
        rows.take(unseen),
        x.iloc[train],
        y[train],
        x.iloc[unseen],
        y[unseen],
    )


def score(method: Method, contest: ClassContest) -> Scores:
    began = time.perf_counter()
    probabilities = method(contest)
    return Scores.of(probabilities, contest.y_unseen, time.perf_counter() - began)


def foldhouse(contest: ClassContest) -> Vector:
    """The default spec, calibrated as a job is."""
    with stored(contest.train, contest.target) as table:
        task = table.load(table.resolve(task="classification"))
        served = task.serve(CORES)
        refine(served, task.spec, task.design, task.folds)
    unseen = task.encode(contest.unseen)
    found = predict(served, unseen.numbers, unseen.codes).values
    return found[:, [task.design.levels.index(level) for level in contest.levels]]


def logistic(contest: ClassContest) -> Vector:
    """Its strength is the one with the best log loss in folds of the training rows."""
    columns = ColumnTransformer(
        [
            (
                "numbers",
                make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
                contest.numeric,
            ),
            ("words", OneHotEncoder(handle_unknown="ignore"), contest.categorical),
        ]
    )
    model = GridSearchCV(
        make_pipeline(columns, LogisticRegression(max_iter=ITERATIONS)),
        {"logisticregression__C": STRENGTHS},
        scoring="neg_log_loss",
        cv=StratifiedKFold(STRENGTH_FOLDS, shuffle=True, random_state=0),
    )
    return probabilities_of(model, contest, contest.x, contest.x_unseen)


def trees(contest: ClassContest) -> Vector:
    """Its defaults, with words as categories; those with too many as numbers."""
    many = [name for name in contest.categorical if contest.x[name].nunique() > MOST_CATEGORIES]

    def taken(x: pd.DataFrame) -> pd.DataFrame:
        return x.assign(**{name: x[name].cat.codes for name in many})

    model = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
    return probabilities_of(model, contest, taken(contest.x), taken(contest.x_unseen))


def probabilities_of(
    model: ClassifierMixin, contest: ClassContest, x: pd.DataFrame, unseen: pd.DataFrame
) -> Vector:
    """(n, C) of the unseen rows."""
    model.fit(x, contest.y)
    found = np.zeros((len(unseen), len(contest.levels)))
    found[:, model.classes_] = model.predict_proba(unseen)
    return found


METHODS: tuple[Method, ...] = (foldhouse, logistic, trees)


if __name__ == "__main__":
    main(sys.argv[1:])
