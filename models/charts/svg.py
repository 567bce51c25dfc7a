"""Charts as SVG without scripts, by vl-convert."""

from __future__ import annotations

import re
from html import escape

import vl_convert

from models.charts.chart import Chart

# What a drawing that is one image to a screen reader does not need, and what is not seen.
UNUSED = re.compile(
    r' (?:role|aria-roledescription|aria-hidden|pointer-events|class)="[^"]*"'
    r'|<path[^>]* d=""[^>]*/>|<path class="background"[^>]*/>'
)
PLACES = re.compile(r' (?:transform|d|[xy][12]?|width|height)="[^"]*"')
DECIMALS = re.compile(r"(\.\d)\d+")  # of a pixel
MARK = re.compile(r"<path([^>]*)/>")
LABEL = re.compile(r' aria-label="([^"]*)"')
CIRCLE = re.compile(
    r' transform="translate\(([^,]+),([^)]+)\)" d="M([\d.]+),0A\3,\3,0,1,1,-\3,0A\3,\3,0,1,1,\3,0"'
)
CLIP = re.compile(r'( id="|url\(#)clip')
HEAD = re.compile(r'<svg[^>]* width="(\d+)" height="(\d+)"[^>]*>(?:<rect[^>]*/>)?')


def svg(chart: Chart) -> str:
    """The drawing, with title and description. A mark that has a description shows it where the
    pointer rests."""
    drawn = UNUSED.sub("", vl_convert.vegalite_to_svg(chart.spec))
    drawn = PLACES.sub(lambda places: DECIMALS.sub(r"\1", places[0]), drawn)
    drawn = LABEL.sub("", MARK.sub(_mark, drawn))
    # Other drawings on the page have clips too.
    drawn = CLIP.sub(rf"\1{chart.name}-clip", drawn)
    ids = f"{chart.name}-title {chart.name}-description"

    def head(match: re.Match[str]) -> str:
        return (
            f'<svg role="img" aria-labelledby="{ids}" width="{match[1]}" height="{match[2]}" '
            f'viewBox="0 0 {match[1]} {match[2]}">'
            f'<title id="{chart.name}-title">{escape(chart.title)}</title>'
            f'<desc id="{chart.name}-description">{escape(chart.description)}</desc>'
        )

    return HEAD.sub(head, drawn, count=1)


def _mark(match: re.Match[str]) -> str:
    """A path, a disc as the circle that it is, with its label as a title."""
    attributes, discs = CIRCLE.subn(r' cx="\1" cy="\2" r="\3"', match[1])
    tag = "circle" if discs else "path"
    label = LABEL.search(attributes)
    if label is None:
        return f"<{tag}{attributes}/>"
    return f"<{tag}{LABEL.sub('', attributes)}><title>{label[1]}</title></{tag}>"
