"""The rows with the largest errors, with their cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.figures import cell, number, one_line
from models.objectives import objective_of
from models.objectives.charted import Cells
from models.report.run import Run

COLUMNS = 12  # the most important ones
PREDICTED = 6  # columns of the table of out-of-fold predictions
MISSING = "–"


@dataclass(frozen=True)
class Table:
    """head: the titles; rows: as they are shown."""

    head: list[str]
    rows: list[list[str]]


def worst_rows(run: Run) -> Table:
    """The worst first. Rows count from 0 below the header, like those of the table of out-of-fold
    predictions."""
    charted = run.charted
    places = charted.worst
    shown = [name for name in charted.columns if name not in objective_of(run.spec).compared]
    scored = np.flatnonzero(run.scores.fold_of >= 0)[places]
    columns = [
        *(_said(charted.columns[name][places]) for name in shown[:PREDICTED]),
        *(_cells(run.cells(name, scored)) for name in run.ranked[:COLUMNS]),
    ]
    head = ["row", "fold", *shown[:PREDICTED], *run.ranked[:COLUMNS]]
    begin = zip(charted.rows[places].tolist(), run.scores.fold_of[scored].tolist(), strict=True)
    rows = [
        [str(row), str(fold), *(column[place] for column in columns)]
        for place, (row, fold) in enumerate(begin)
    ]
    return Table([one_line(name, 32) for name in head], rows)


def _said(values: np.ndarray) -> list[str]:
    return [
        one_line(value, 32) if isinstance(value, str) else number(value if value == value else None)
        for value in values.tolist()
    ]


def _cells(cells: Cells) -> list[str]:
    found = cells.said(np.arange(len(cells.values)))
    if cells.kind == "number":
        return [cell(own) for own in found]
    return [MISSING if own is None else one_line(own, 32) for own in found]
