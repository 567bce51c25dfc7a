"""How often intervals hold the truth of rows that were never seen, and how wide they are.

Three intervals from the same folds: the served one; the 1 − α quantile of the absolute out-of-fold
errors around the served price, without a difficulty or a correction for few rows; and CV+ (Barber
et al. 2021, arXiv 1905.02928), which takes the quantiles of each fold's price with each error.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.contest import deal, train
from benchmarks.houses import rows_of, table_arguments
from models.export.served import predict
from models.objectives.conformal import rank
from models.objectives.regression.calibration import Residuals, calibrate
from models.objectives.regression.intervals import spread_within_folds

COVERAGES = (0.8, 0.9, 0.95)
Vector = NDArray[np.float64]
Bounds = tuple[Vector, Vector]


def main(arguments: list[str] | None = None) -> None:
    parser = table_arguments(__doc__)
    parser.add_argument("--splits", type=int, default=5, help="fifths of the rows held out")
    given = parser.parse_args(arguments)
    rows = rows_of(given)
    found: dict[tuple[str, float], list[tuple[int, int, float]]] = {}
    for split in range(given.splits):
        contest = deal(rows, given.target, split)
        trained = train(contest)
        served, design = trained.served, trained.task.design
        transform = "log" if contest.log else "none"
        per_fold = served.members_per_fold
        learnt = contest.learnt

        # Out of fold, by each fold's own members.
        fold_of = np.empty(len(design), np.int64)
        price, spread = np.empty(len(design)), np.empty(len(design))
        for place, fold in enumerate(trained.task.folds):
            own = fold.validation
            scored = predict(served.fold(place), design.numbers[own], design.codes[own])
            fold_of[own], price[own] = place, scored.values
            spread[own] = spread_within_folds(scored, per_fold, transform)
        residuals = Residuals(design.target, price, spread, fold_of, transform)
        calibration = calibrate(residuals)

        unseen = trained.task.encode(contest.unseen)
        outputs = predict(served, unseen.numbers, unseen.codes)
        value, members = outputs.values, outputs.members
        by_fold = learnt(members.reshape(-1, per_fold, len(value)).mean(1))
        spread = spread_within_folds(outputs, per_fold, transform)
        for coverage in COVERAGES:
            low, high = calibration.interval(value, spread, coverage, transform)
            radius = np.quantile(residuals.errors, coverage)
            intervals: dict[str, Bounds] = {
                "served": (learnt(low), learnt(high)),
                "plain quantile": (learnt(value) - radius, learnt(value) + radius),
                "CV+": cv_plus(by_fold, residuals, coverage),
            }
            truth = contest.y_unseen
            for name, (low, high) in intervals.items():
                inside = int(((low <= truth) & (truth <= high)).sum())
                found.setdefault((name, coverage), []).append(
                    (inside, len(truth), float((high - low).sum()))
                )

    print("| interval | coverage asked | measured | mean width, as learnt |")
    print("| --- | ---: | ---: | ---: |")
    for (name, coverage), splits in sorted(found.items(), key=lambda row: row[0][1]):
        inside, count, width = map(sum, zip(*splits, strict=True))
        noise = np.sqrt(coverage * (1 - coverage) / count)
        print(
            f"| {name} | {coverage:.0%} | {inside / count:.1%} ± {noise:.1%} "
            f"| {width / count:.4f} |"
        )


def cv_plus(by_fold: Vector, residuals: Residuals, coverage: float) -> Bounds:
    """The ⌈(n + 1)·c⌉-th smallest of price + error, and its mirror image, for each row.

    Parameters
    ----------
    by_fold : (F, N) prices of the unseen rows on the scale that is learnt
    """
    errors, place = residuals.errors, rank(len(residuals), coverage) - 1
    high, low = np.empty(by_fold.shape[1]), np.empty(by_fold.shape[1])
    for row, prices in enumerate(by_fold.T):
        mine = prices[residuals.fold]
        high[row] = np.partition(mine + errors, place)[place]
        low[row] = -np.partition(errors - mine, place)[place]
    return low, high
