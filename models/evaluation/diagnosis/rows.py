"""What the residuals of good networks show about rows: mistakes in the data, drift, folds."""

from __future__ import annotations

import numpy as np

from models.evaluation.diagnosis.columns import between
from models.evaluation.diagnosis.evidence import Evidence, number, percent
from models.evaluation.diagnosis.findings import Finding
from models.evaluation.diagnosis.next_specs import changed, robust

FEWEST_ROWS = 100
# Robust standard deviations: 1.4826 times the median distance from the median.
TO_DEVIATION = 1.4826
# Some rows are mistaken if all of them are far off, and a gap parts them from the rest. Of noise
# whose tail falls like the third power, the i-th and the next of the largest have a ratio of 1.5 or
# more with probability 1.5^(−3 i): one in a hundred such tables has a gap after four or more.
FAR, GAP = 6.0, 1.5
FEWEST_ERRORS, MOST_ERRORS = 4, 0.05
NAMED = 5  # rows
# A few rows hold more than half of all squared errors.
FEW, HALF = 0.01, 0.5
# Blocks of the table in order, and the share of the residuals' variance between them.
BLOCKS, DRIFT, CHANCE = 10, 0.05, 1e-6
# Rows in the order of their targets have such residuals by themselves, and a number that orders
# them is known already.
SORTED = 0.8
# Between the mean errors of folds and what rows within them lead to expect.
UNEVEN, FACTOR = 10.0, 3.0
FEWEST_FOLD_ROWS = 10
SMALL = 0.01  # of the mean's error


def label_errors_suspected(run: Evidence) -> Finding | None:
    residuals = run.residuals
    if residuals is None or len(residuals) < FEWEST_ROWS:
        return None
    away = np.abs(residuals - np.median(residuals))
    deviation = TO_DEVIATION * float(np.median(away))
    if deviation == 0:
        return None
    sizes = away / deviation
    largest = np.sort(sizes)[::-1][: round(MOST_ERRORS * len(sizes)) + 1]
    parted = (largest[:-1] > FAR) & (largest[:-1] >= GAP * largest[1:])
    parted[: FEWEST_ERRORS - 1] = False
    if not parted.any():
        return None
    count = int(np.flatnonzero(parted)[-1]) + 1
    worst = np.argsort(-sizes, kind="stable")[:NAMED]
    rows = ", ".join(str(row) for row in run.order[worst])
    return Finding(
        code="label_errors_suspected",
        asks="look",
        evidence=f"{count} of {len(sizes):,} rows are off by {number(largest[count - 1])} robust "
        f"standard deviations or more, and none of the others by more than "
        f"{number(largest[count])}; the worst are rows {rows} (from 0 below the header)",
        advice="check the targets of these rows; loss 'huber' gives them less weight",
        next_spec=robust(run.spec),
    )


def few_rows_dominate(run: Evidence) -> Finding | None:
    residuals = run.residuals
    if residuals is None or len(residuals) < FEWEST_ROWS:
        return None
    squares = np.sort(residuals**2)[::-1]
    count = max(1, round(FEW * len(squares)))
    held = float(squares[:count].sum() / max(squares.sum(), np.finfo(float).tiny))
    if held <= HALF or label_errors_suspected(run) is not None:
        return None
    worst = ", ".join(str(row) for row in run.order[np.argsort(-(residuals**2))[:NAMED]])
    return Finding(
        code="few_rows_dominate",
        asks="look",
        evidence=f"{count} of {len(squares):,} rows hold {percent(held)} of all squared errors; "
        f"the worst are rows {worst} (from 0 below the header)",
        advice="look at these rows: the error is mostly theirs, and so is its uncertainty; loss "
        "'huber' or 'absolute_error' gives them less weight",
        next_spec=robust(run.spec),
    )


def residuals_follow_order(run: Evidence) -> Finding | None:
    """Drift: the rows' order explains what the model leaves, though folds mix it."""
    residuals = run.residuals
    if residuals is None or run.spec.folds.type in ("time", "group"):
        return None
    if len(residuals) < FEWEST_ROWS or run.ordered_by > SORTED:
        return None
    ordered = residuals[np.argsort(run.order, kind="stable")]
    blocks = np.array_split(ordered, BLOCKS)
    parts = np.repeat(np.arange(BLOCKS), [len(block) for block in blocks])
    share, chance = between(ordered, parts)
    if share < DRIFT or chance > CHANCE:
        return None
    means = [float(block.mean()) for block in blocks]
    return Finding(
        code="residuals_follow_order",
        asks="look",
        evidence=f"a tenth of the table after another, the mean error goes from "
        f"{number(means[0])} to {number(means[-1])} (as learnt): the order of the rows explains "
        f"{percent(share)} of what the model leaves",
        advice="add the column that orders the rows, such as a date, to the features; if rows to "
        "predict come later, use folds of type 'time' with it",
        next_spec=None,
    )


def folds_disagree(run: Evidence) -> Finding | None:
    errors = run.comparison.errors["networks"]
    parts = [errors[run.folds == fold] for fold in np.unique(run.folds)]
    if run.spec.folds.type != "shuffled" or min(map(len, parts)) < FEWEST_FOLD_ROWS:
        return None
    means = np.array([part.mean() for part in parts])
    if means.max() < SMALL * run.comparison.errors["constant"].mean():
        return None
    expected = float(np.mean([part.var(ddof=1) / len(part) for part in parts]))
    if expected == 0 or means.var(ddof=1) / expected < UNEVEN or means.max() < FACTOR * means.min():
        return None
    typical = run.comparison.typical(means)
    return Finding(
        code="folds_disagree",
        asks="look",
        evidence=f"the error of folds goes from {number(typical.min())} to "
        f"{number(typical.max())} (as learnt), more than their rows explain",
        advice="look at the rows with the largest out-of-fold errors; stratified folds or more "
        "rows make the estimate more stable",
        next_spec=changed(run.spec, folds={"type": "stratified"}),
    )


LOOKS = (label_errors_suspected, few_rows_dominate, residuals_follow_order, folds_disagree)
