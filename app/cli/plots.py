"""A lesson's plots on a terminal. Imported when one is drawn: plotext takes half a second."""

from __future__ import annotations

from typing import Any

import plotext

from lessons.outcome import Plot, Series

HEIGHT = 18  # lines, title and axes included
MOST_WIDE = 90  # columns
# Without colours, series differ by their characters.
MARKERS = "*o+x#=%@"
BARS_SHARE = 0.8  # share of the distance from one group of bars to the next


def draw(plot: Plot, width: int, *, colours: bool) -> str:
    """Lines of text, at most `width` columns wide."""
    figure = plotext.figure
    figure.clear()
    # Without this, the size of the terminal limits the plot; of a pipe that is a guess.
    plotext.terminal.limit(False, False)
    figure.theme("simple")
    figure.plot_size(min(width, MOST_WIDE), HEIGHT)
    figure.title(plot.title)
    figure.label(plot.x, "x")
    figure.label(plot.y, "y")
    for place, series in enumerate(plot.series):
        own = MARKERS[place % len(MARKERS)]
        marker = own if plot.kind == "points" or not colours else None
        if plot.kind == "bars":
            signal = _bars(figure, plot, place, marker)
        else:
            signal = figure.signal(*_drawable(series, plot.logarithmic), marker=marker)
        if len(plot.series) > 1:
            signal.label(series.name)
        figure.draw(signal.lines() if plot.kind == "line" else signal)
    for axis in plot.logarithmic:
        figure.ruler(axis).scale("log")
    return str(figure.build().string(colorless=not colours)).rstrip("\n")


def _bars(figure: Any, plot: Plot, place: int, marker: str | None) -> Any:
    """Bars of several series stand side by side; the first series names them all."""
    names = plot.series[0].x
    width = BARS_SHARE / len(plot.series)
    first = (place - (len(plot.series) - 1) / 2) * width
    heights = plot.series[place].y
    signal = figure.bar(
        [first + number for number in range(len(heights))], heights, width=width, marker=marker
    )
    figure.ruler("x").ticks(list(range(len(names))), [str(name) for name in names])
    return signal


def _drawable(series: Series, logarithmic: str) -> tuple[list[float], list[float]]:
    """Numbers that have a place in a plot; on a logarithmic axis, zero has none."""
    points = zip([float(x) for x in series.x], series.y, strict=True)
    kept = [
        (x, y)
        for x, y in points
        if abs(y) < float("inf")
        and ("x" not in logarithmic or x > 0)
        and ("y" not in logarithmic or y > 0)
    ]
    return [x for x, _ in kept], [y for _, y in kept]
