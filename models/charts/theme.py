"""The look of all charts. Colours are variables of the page's style sheet."""

from __future__ import annotations

from typing import Any

WIDTH, HEIGHT = 320, 210  # pixels; legible at the width of a phone
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans SC", sans-serif'
INK, SOFT, LINE, CARD, ACCENT = (
    f"var(--{name})" for name in ("ink", "soft", "line", "card", "accent")
)
SERIES = [f"var(--f{place})" for place in range(5)]

CONFIG: dict[str, Any] = {
    "font": FONT,
    "background": "transparent",
    # Fonts differ: names beside an axis may be wider than they were measured.
    "padding": {"left": 12, "right": 12, "top": 6, "bottom": 6},
    "view": {"stroke": None},
    # A chart as a whole has a description; marks that name a row ask for their own.
    "mark": {"color": ACCENT, "aria": False},
    "rule": {"color": ACCENT},
    "text": {"color": INK},
    "axis": {
        "aria": False,
        "domain": False,
        "ticks": False,
        "gridColor": LINE,
        "labelColor": SOFT,
        "labelFontSize": 11,
        "labelLimit": 130,
        "labelPadding": 6,
        "tickCount": 5,
        "titleColor": SOFT,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titleLimit": 320,
        "titlePadding": 8,
    },
    "legend": {
        "aria": False,
        "columnPadding": 24,
        "columns": 4,
        "labelColor": SOFT,
        "labelFontSize": 11,
        "labelLimit": 120,
        "orient": "bottom",
        "symbolDash": [1, 0],
        "symbolOpacity": 1,
        "symbolType": "stroke",
        "symbolStrokeWidth": 3,
        "title": None,
    },
    "range": {"category": SERIES},
    "style": {
        "dot": {"opacity": 0.4, "size": 16},
        "ideal": {"color": SOFT, "strokeDash": [4, 4], "strokeWidth": 1.25},
        "named": {"fontSize": 11, "align": "left", "dx": 6, "baseline": "middle"},
        "halo": {"stroke": CARD, "strokeWidth": 4, "strokeJoin": "round"},
        "mean": {"size": 56, "opacity": 1},
        "spread": {"strokeWidth": 2},
        "bar": {"opacity": 0.8, "cornerRadiusEnd": 2},
        "band": {"opacity": 0.2},
        "curve": {"strokeWidth": 1.75},
        "faint": {"strokeDash": [2, 3], "strokeWidth": 1.25, "opacity": 0.6},
        "cell": {"cornerRadius": 3},
        "count": {"fontSize": 12},
    },
}
