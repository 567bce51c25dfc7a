"""How predictions change with one column: partial dependence (Friedman 2001, doi
10.1214/aos/1013203451), by each fold's model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt
import numpy as np

from models.charts.chart import Chart, base, chart
from models.charts.drawings import form_of, means, names, numbers
from models.export.served import predict
from models.figures import one_line
from models.objectives.base import Codes, Vector
from models.objectives.trained import learning_of
from models.randomness import stream_seed
from models.report.run import Run
from models.tables.wording import moment_text

COLUMNS = 6
# 6 columns × 12 cells × 64 rows are predicted by each fold's model once.
ROWS, POINTS, LEVELS = 64, 12, 8
LOWEST, HIGHEST = 0.02, 0.98  # quantiles of a column's numbers between which it is drawn
MISSING = "missing"


def dependence(run: Run) -> Iterator[Chart]:
    """A chart for each of the most important columns."""
    chance = np.random.default_rng(stream_seed(run.spec.seed, "dependence"))
    count = min(ROWS, len(run.design))
    rows = np.sort(chance.choice(len(run.design), count, replace=False))
    for place, name in enumerate(run.ranked[:COLUMNS]):
        if name in run.design.numeric:
            found = _of_number(run, name, rows)
        else:
            found = _of_level(run, name, rows)
        if found is not None:
            values, layers_of = found
            drawn = learning_of(run.spec).drawn(values, run.design.levels, run.result)
            if drawn:
                yield _chart(place, name, layers_of, drawn)


def _of_number(run: Run, name: str, rows: Codes) -> tuple[Vector, tuple[str, list[Any]]] | None:
    place = run.design.numeric.index(name)
    column = run.design.numbers[:, place]
    known = column[np.isfinite(column)]
    if len(known) == 0:
        return None
    grid = np.unique(np.quantile(known, np.linspace(LOWEST, HIGHEST, POINTS)))
    is_moment = run.design.numeric_kinds[place] == "datetime"
    numbers = np.tile(run.design.numbers[rows], (len(grid), 1))
    numbers[:, place] = np.repeat(grid, len(rows))
    codes = np.tile(run.design.codes[rows], (len(grid), 1))
    said = [moment_text(cell) for cell in grid.tolist()] if is_moment else grid.tolist()
    return _predicted(run, numbers, codes, len(grid)), ("T" if is_moment else "Q", said)


def _of_level(run: Run, name: str, rows: Codes) -> tuple[Vector, tuple[str, list[Any]]]:
    [place] = (i for i, known in enumerate(run.design.categorical) if known.name == name)
    levels = run.design.categorical[place].levels[:LEVELS]
    numbers = np.tile(run.design.numbers[rows], (len(levels), 1))
    codes = np.tile(run.design.codes[rows], (len(levels), 1))
    codes[:, place] = np.repeat(np.arange(len(levels)), len(rows))
    said = [MISSING if level is None else one_line(level, 24) for level in levels]
    return _predicted(run, numbers, codes, len(levels)), ("N", said)


def _predicted(run: Run, numbers: Vector, codes: Codes, points: int) -> Vector:
    """(F, points, …) mean predictions of each fold's model."""
    members = predict(run.served, numbers, codes).members
    each = members.reshape(
        len(run.served.folds), -1, points, len(numbers) // points, *members.shape[2:]
    )
    found: Vector = each.mean(axis=(1, 3))
    return found


def _chart(place: int, name: str, axis: tuple[str, list[Any]], drawn: dict[str, Vector]) -> Chart:
    """drawn : (F, points) by what is predicted"""
    kind, said = axis
    title = one_line(name, 40)
    rows = [
        {
            "at": at,
            "what": one_line(what, 24),
            "mean": float(folds[:, point].mean()),
            "low": float(folds[:, point].min()),
            "high": float(folds[:, point].max()),
        }
        for what, folds in drawn.items()
        for point, at in enumerate(said)
    ]
    several = len(drawn) > 1
    form = form_of(np.concatenate([folds.ravel() for folds in drawn.values()]))
    y, low = (
        numbers(alt.Y, field, None if several else one_line(next(iter(drawn)), 30), form=form)
        for field in ("mean", "low")
    )
    color: dict[str, Any] = {"color": alt.Color("what:N")} if several else {}
    layers: list[Any]
    if kind == "N":
        x = names(alt.X, "at", order=said)
        layers = [layer.encode(**color) for layer in means(x, y, "low", "high")]
    else:
        x = (
            alt.X("at:T", title=None)
            if kind == "T"
            else numbers(alt.X, "at", None, form=form_of(np.array(said)))
        )
        layers = [
            base().mark_area(style="band").encode(x=x, y=low, y2="high:Q", **color),
            base().mark_line(style="curve").encode(x=x, y=y, **color),
        ]
    what = {"what": "of"} if several else {}
    return chart(
        f"dependence_{place}",
        f"{title}",
        f"The mean prediction if only {title} changes, and its range over the folds' models.",
        layers,
        rows,
        {"at": title, **what, "mean": "mean", "low": "lowest fold", "high": "highest fold"},
        height=150,
    )
