"""Errors and intervals of predicted numbers, from the lowest predictions to the highest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt
import numpy as np

from models.charts.chart import Chart, chart
from models.charts.drawings import bars, level, means, names, numbers
from models.figures import one_line, percent
from models.objectives.base import DEFAULT_COVERAGE, Codes, Vector
from models.objectives.charted import Charted

TENTHS = 10
COLUMNS = {"tenth": "tenth", "from": "predicted from", "to": "to", "rows": "rows"}


def by_tenth(charted: Charted, away: Vector, unit: str) -> Iterator[Chart]:
    """The size of the errors `away` (n,), then the coverage of intervals if there are any."""
    tenths = np.array_split(np.argsort(charted.values, kind="stable"), TENTHS)
    yield _errors(charted, tenths, np.abs(away), unit)
    if np.isfinite(charted.columns["low"]).any():
        yield _coverage(charted, tenths)


def _errors(charted: Charted, tenths: list[Codes], sizes: Vector, unit: str) -> Chart:
    rows = []
    for tenth, own in enumerate(tenths, 1):
        doubt = float(sizes[own].std(ddof=1) / np.sqrt(len(own)))
        rows.append(_row(charted, tenth, own) | _bounded(float(sizes[own].mean()), doubt))
    x, y = _across(charted), numbers(alt.Y, "mean", f"mean error, {unit}", zero=True)
    return chart(
        "error_by_tenth",
        "Error by tenth of the predictions",
        f"The mean size of the error in {unit}, ± one standard error, for the lowest tenth of the "
        "predictions to the highest.",
        [bars(x, y), *means(x, y, "low", "high")],
        rows,
        COLUMNS | {"mean": f"mean error, {unit}", "error": "±"},
    )


def _coverage(charted: Charted, tenths: list[Codes]) -> Chart:
    rows = []
    low, high = charted.columns["low"], charted.columns["high"]
    for tenth, own in enumerate(tenths, 1):
        known = own[np.isfinite(low[own]) & np.isfinite(high[own])]
        if len(known) == 0:
            continue
        truths = charted.actual[known]
        share = float(((low[known] <= truths) & (truths <= high[known])).mean())
        doubt = float(np.sqrt(share * (1 - share) / len(known)))
        rows.append(_row(charted, tenth, known) | _bounded(share, doubt, most=1.0))
    x, y = _across(charted), numbers(alt.Y, "mean", "share inside", form="%")
    asked = percent(DEFAULT_COVERAGE)
    return chart(
        "coverage_by_tenth",
        f"Truths inside their {asked} interval",
        "The share of rows whose truth lies in its interval, ± one standard error, by tenth of the "
        f"predictions. The dashed line is the {asked} that was asked for.",
        [level(DEFAULT_COVERAGE), *means(x, y, "low", "high")],
        rows,
        COLUMNS | {"mean": "share inside", "error": "±"},
    )


def _across(charted: Charted) -> Any:
    target = one_line(charted.spec.target, 40)
    return names(alt.X, "tenth", f"tenth of the predicted {target}, lowest first")


def _row(charted: Charted, tenth: int, own: Codes) -> dict[str, Any]:
    predicted = charted.values[own]
    ends = {"from": float(predicted.min()), "to": float(predicted.max())}
    return {"tenth": tenth, "rows": len(own), **ends}


def _bounded(mean: float, doubt: float, most: float = np.inf) -> dict[str, float]:
    ends = {"low": max(0.0, mean - doubt), "high": min(most, mean + doubt)}
    return {"mean": mean, "error": doubt, **ends}
