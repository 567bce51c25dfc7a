"""The few kinds of drawing that charts are made of, as layers for `chart`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import altair as alt
import numpy as np
from numpy.typing import NDArray

from models.charts.chart import base, once

# altair leaves open what its methods give.
Layer = Any
Layers = list[Any]
Scale = Literal["linear", "log"]
Domain = tuple[float, float]
# How d3 writes numbers: 200k, 1987, and counts.
SHORT, PLAIN, WHOLE = "~s", "~f", "~d"
LARGE = 10_000


def numbers(
    kind: type[Any],
    field: str,
    title: str | None,
    *,
    scale: Scale = "linear",
    zero: bool = False,
    form: str = SHORT,
    domain: Domain | None = None,
) -> Any:
    """An axis (`alt.X` or `alt.Y`) of numbers; `form`: how d3 writes them. What lies outside of a
    `domain` is drawn at its end."""
    settings: dict[str, Any] = {"type": scale, "nice": False, "clamp": domain is not None}
    if scale == "linear":
        settings["zero"] = zero
    if domain is not None:
        settings["domain"] = list(domain)
    axis: dict[str, Any] = {"format": form, "grid": True}
    if form == WHOLE:
        axis["tickMinStep"] = 1
    return kind(f"{field}:Q", title=title, scale=alt.Scale(**settings), axis=alt.Axis(**axis))


def form_of(values: NDArray[np.float64]) -> str:
    """How an axis writes these numbers: years as years, and prices in thousands."""
    known = np.abs(values[np.isfinite(values)])
    return PLAIN if len(known) and 0.001 < known.max() < LARGE else SHORT


def names(
    kind: type[Any], field: str, title: str | None = None, order: Sequence[str] | None = None
) -> Any:
    """An axis of names, in their order."""
    sort = None if order is None else list(order)
    axis = alt.Axis(grid=False, labelAngle=0)
    return kind(f"{field}:N", title=title, sort=sort, axis=axis)


def dots(x: Any, y: Any, **encodings: Any) -> Layer:
    """A dot a row, which its field `label` names."""
    return (
        base()
        .mark_circle(style="dot", aria=True)
        .encode(x=x, y=y, description=alt.Description("label:N"), tooltip=["label:N"], **encodings)
    )


def labelled(x: Any, y: Any) -> Layers:
    """The field `named` beside a dot, where there is one, legible over other dots."""
    text = base().transform_filter("datum.named != null").encode(x=x, y=y, text="named:N")
    return [text.mark_text(style=["named", "halo"]), text.mark_text(style="named")]


def level(value: float, kind: type[Any] = alt.Y) -> Layer:
    """A dashed line across: where all would be well."""
    channel = "y" if kind is alt.Y else "x"
    return once().mark_rule(style="ideal").encode(**{channel: alt.datum(value)})


def diagonal(low: float, high: float) -> Layer:
    """The dashed line of equal values."""
    return (
        once()
        .mark_rule(style="ideal")
        .encode(x=alt.datum(low), y=alt.datum(low), x2=alt.datum(high), y2=alt.datum(high))
    )


def means(x: Any, y: Any, low: str, high: str, *, upright: bool = True) -> Layers:
    """A dot for each row, and a line from the field `low` to the field `high`."""
    ends = (
        {"y": _start(y, low), "y2": f"{high}:Q"}
        if upright
        else {"x": _start(x, low), "x2": f"{high}:Q"}
    )
    line = base().mark_rule(style="spread").encode(**({"x": x, "y": y} | ends))
    return [line, base().mark_circle(style="mean").encode(x=x, y=y)]


def bars(x: Any, y: Any) -> Layer:
    return base().mark_bar(style="bar").encode(x=x, y=y)


def _start(axis: Any, field: str) -> Any:
    """The same axis for another field."""
    copy = axis.copy()
    copy.shorthand = f"{field}:Q"
    return copy
