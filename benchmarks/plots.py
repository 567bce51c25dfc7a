"""Figures that can be read on a white page and on a dark one."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FOLDER = Path(__file__).parent
# Each has a contrast of at least 3:1 against white and against GitHub's dark #0d1117.
INK = "#7a7f87"
BLUE = "#3b82d6"
RED = "#d9534f"

mpl.rcParams.update(
    {
        "svg.hashsalt": "foldhouse",  # the same figure is the same file
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "axes.titlesize": 9,
        "axes.titlecolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": INK,
        "ytick.color": INK,
        "legend.frameon": False,
        "grid.color": INK,
        "grid.alpha": 0.25,
    }
)


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[list[Axes]]]:
    """Axes of rows × columns in a figure of so many inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex="col", sharey="row")
    return figure, grid.tolist()


def save(figure: Figure, name: str) -> None:
    """Write benchmarks/NAME.svg without a background."""
    path = FOLDER / f"{name}.svg"
    figure.savefig(path, transparent=True, metadata={"Date": None})
    print(f"\nWrote {path.relative_to(FOLDER.parent)}")
