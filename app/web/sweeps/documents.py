"""Vega-Lite documents as plain data: this process has no Altair. The look is that of reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.charts.theme import CONFIG, HEIGHT, SOFT, WIDTH

Json = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
DIGITS = 6  # of numbers that are drawn; more make a page heavy and show nothing


def document(
    name: str,
    title: str,
    description: str,
    layers: Sequence[Json],
    rows: Sequence[Json],
    columns: Mapping[str, str],
    *,
    height: int = HEIGHT,
) -> Json:
    """A chart in the form of `GET /v1/jobs/{id}/charts`. `columns`: of the table behind it, titles
    by field of `rows`."""
    rows = [{field: _short(value) for field, value in row.items()} for row in rows]
    return {
        "name": name,
        "title": title,
        "description": description,
        "spec": {
            "$schema": SCHEMA,
            "description": description,
            "width": WIDTH,
            "height": height,
            "config": CONFIG,
            "data": {"values": rows},
            "layer": layers,
        },
        "table": {
            "columns": [*columns.values()],
            "rows": [[row[field] for field in columns] for row in rows],
        },
    }


def _short(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def numbers(field: str, title: str | None, *, log: bool = False, **axis: Any) -> Json:
    """An axis of numbers."""
    scale: Json = {"type": "log"} if log else {"type": "linear", "zero": False}
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": scale | {"nice": False},
        "axis": {"format": "~g", "grid": True} | axis,
    }


def names(field: str, title: str | None, order: Sequence[str], **axis: Any) -> Json:
    """An axis of names, in their order."""
    return {
        "field": field,
        "type": "nominal",
        "title": title,
        "sort": [*order],
        "axis": {"grid": False, "labelAngle": 0} | axis,
    }


def within(axis: Json, low: float, high: float) -> Json:
    """The axis from `low` to `high`; what lies outside is drawn at its end."""
    return axis | {"scale": axis["scale"] | {"domain": [low, high], "clamp": True}}


def dots(x: Json, y: Json) -> Json:
    """A dot a row, which its field `label` names."""
    label = {"field": "label", "type": "nominal"}
    return {
        "mark": {"type": "circle", "style": "dot", "aria": True, "opacity": 0.6, "size": 28},
        "encoding": {"x": x, "y": y, "description": label, "tooltip": label},
    }


def spans(x: Json, y: Json, low: str, high: str) -> Json:
    """An upright line from the field `low` to the field `high`."""
    return {
        "mark": {"type": "rule", "opacity": 0.25},
        "encoding": {"x": x, "y": y | {"field": low}, "y2": {"field": high}},
    }


def line(x: Json, y: Json, chosen: str | None = None, **mark: Any) -> Json:
    """A line through the rows, or those for which the field `chosen` is true."""
    drawn: Json = {
        "mark": {"type": "line", "style": "curve", "clip": True} | mark,
        "encoding": {"x": x, "y": y},
    }
    return drawn if chosen is None else drawn | {"transform": [{"filter": f"datum.{chosen}"}]}


def large_dots(x: Json, y: Json, chosen: str) -> Json:
    return {
        "transform": [{"filter": f"datum.{chosen}"}],
        "mark": {"type": "circle", "style": "mean"},
        "encoding": {"x": x, "y": y},
    }


def texts(rows: Sequence[Json], x: Json, y: Json, baseline: str, dy: int) -> Json:
    """The field `text` of rows of its own, at x and y."""
    return {
        "data": {"values": rows},
        "mark": {"type": "text", "fontSize": 10, "color": SOFT, "baseline": baseline, "dy": dy},
        "encoding": {"x": x, "y": y, "text": {"field": "text"}},
    }
