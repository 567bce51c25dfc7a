"""Charts of predicted numbers: where they err, and whether their intervals hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt
import numpy as np

from models.charts.chart import Chart, chart
from models.charts.drawings import (
    Scale,
    diagonal,
    dots,
    form_of,
    labelled,
    level,
    means,
    names,
    numbers,
)
from models.figures import number, one_line
from models.objectives.base import Vector
from models.objectives.charted import Cells, Charted
from models.objectives.regression.tenths import by_tenth

# A share of fewer rows is mostly chance.
FEWEST_ROWS = 50
# Levels of a column in one drawing: the most frequent ones.
MOST_LEVELS = 12
# Labels of rows that are nearer, as shares of the drawing, would meet.
APART_ACROSS, APART_UP = 0.3, 0.07
NAMED = 5
# Quantiles of the errors between which they are drawn.
MOST_AWAY = (0.005, 0.995)
# The largest number of a column drawn by its logarithm, in medians.
LONG = 50
MISSING = "missing"
QUARTILES = (0.25, 0.5, 0.75)


def charts(charted: Charted) -> list[Chart]:
    """In the order in which they are read."""
    return [*_Numbers(charted).all()]


class _Numbers:
    """The rows, and the unit of their errors: per cent where all targets are above 0."""

    def __init__(self, charted: Charted) -> None:
        self._of = charted
        self._actual, self._predicted = charted.actual, charted.values
        self._target = one_line(charted.spec.target, 40)
        self._is_relative = bool((charted.actual > 0).all())
        away = self._predicted - self._actual
        self._away = 100 * away / self._actual if self._is_relative else away
        self._unit = "%" if self._is_relative else self._target
        logs = charted.spec.preprocessing.target_transform == "log"
        self._scale: Scale = "log" if logs and (self._predicted > 0).all() else "linear"

    def all(self) -> Iterator[Chart]:
        yield self._against_actual()
        if len(self._of) >= FEWEST_ROWS:
            yield from by_tenth(self._of, self._away, self._unit)
        yield self._away_by(
            "away_by_prediction", Cells(f"predicted {self._target}", "number", self._predicted)
        )
        for place, cells in enumerate(self._of.important):
            by = self._away_by_level if cells.kind == "level" else self._away_by
            yield by(f"away_by_column_{place}", cells)
        if self._of.places is not None:
            yield self._map(self._of.places)

    def _points(self, fields: Mapping[str, Vector | Cells]) -> list[dict[str, Any]]:
        """A row of data for each row that is drawn."""
        places = self._of.sampled
        columns = (
            own.said(places) if isinstance(own, Cells) else own[places].tolist()
            for own in fields.values()
        )
        rows = zip(*columns, strict=True)
        return [
            {"row": int(row), "label": self._label(place), **dict(zip(fields, values, strict=True))}
            for place, row, values in zip(places, self._of.rows[places], rows, strict=True)
        ]

    def _label(self, place: int) -> str:
        return (
            f"row {self._of.rows[place]}: predicted {number(float(self._predicted[place]))}, "
            f"actual {number(float(self._actual[place]))}"
        )

    def _against_actual(self) -> Chart:
        low = float(min(self._actual.min(), self._predicted.min()))
        high = float(max(self._actual.max(), self._predicted.max()))
        named = self._worst_apart(low, high)
        rows = self._points({"actual": self._actual, "predicted": self._predicted})
        for row in rows:
            row["named"] = f"row {row['row']}" if row["row"] in named else None
        x, y = (
            numbers(
                kind,
                field,
                f"{field} {self._target}",
                scale=self._scale,
                domain=(low, high),
                form=form_of(self._actual),
            )
            for kind, field in ((alt.X, "actual"), (alt.Y, "predicted"))
        )
        return chart(
            "predicted_against_actual",
            "Predicted against actual",
            f"A dot on the dashed line is a right prediction. {self._of.sample_words} "
            "Rows with the largest errors are named; they count from 0.",
            [diagonal(low, high), dots(x, y), *labelled(x, y)],
            rows,
            {"row": "row", "actual": "actual", "predicted": "predicted"},
        )

    def _worst_apart(self, low: float, high: float) -> set[int]:
        """Of the worst rows, those whose labels do not meet."""
        reach = np.log if self._scale == "log" else np.positive
        width = reach(high) - reach(low) or 1.0
        chosen: list[tuple[float, float]] = []
        found: set[int] = set()
        for place in self._of.worst:
            at = tuple(
                float((reach(values[place]) - reach(low)) / width)
                for values in (self._actual, self._predicted)
            )
            if at[0] > 1 - APART_ACROSS / 2 or len(found) == NAMED:
                continue
            if all(abs(at[0] - x) > APART_ACROSS or abs(at[1] - y) > APART_UP for x, y in chosen):
                chosen.append((at[0], at[1]))
                found.add(int(self._of.rows[place]))
        return found

    def _y(self, field: str) -> Any:
        """Most errors, on both sides of 0. The largest would press all others onto one line."""
        low, high = np.quantile(self._away, MOST_AWAY).tolist()
        return numbers(
            alt.Y,
            field,
            f"predicted minus actual, {self._unit}",
            form=form_of(self._away),
            domain=(min(low, 0.0), max(high, 0.0))
            if np.isfinite([low, high]).all() and low < high
            else None,
        )

    def _away_by(self, name: str, cells: Cells) -> Chart:
        title = one_line(cells.name, 40)
        rows = [
            row for row in self._points({"at": cells, "away": self._away}) if row["at"] is not None
        ]
        x = self._across(cells, title)
        return chart(
            name,
            f"Errors by {title}",
            f"Predicted minus actual, in {self._unit}. Above the dashed line a prediction is too "
            f"high; the largest hundredth is drawn at the edge. {self._of.sample_words}",
            [level(0.0), dots(x, self._y("away"))],
            rows,
            {"row": "row", "at": title, "away": f"predicted minus actual, {self._unit}"},
        )

    def _across(self, cells: Cells, title: str) -> Any:
        if cells.kind == "moment":
            return alt.X("at:T", title=title)
        known = cells.values[np.isfinite(cells.values)]
        is_long = len(known) > 0 and known.min() > 0 and known.max() > LONG * np.median(known)
        scale = self._scale if cells.values is self._predicted else "log" if is_long else "linear"
        return numbers(alt.X, "at", title, scale=scale, form=form_of(cells.values))

    def _away_by_level(self, name: str, cells: Cells) -> Chart:
        title = one_line(cells.name, 40)
        shown = {
            cell: MISSING if cell is None else one_line(cell, 24)
            for cell in sorted({*cells.values}, key=str)
        }
        levels = list(dict.fromkeys(shown.values()))
        places = {cell: levels.index(text) for cell, text in shown.items()}
        codes = np.array([places[cell] for cell in cells.values])
        counts = np.bincount(codes)
        rows = []
        for place in np.argsort(-counts, kind="stable")[:MOST_LEVELS]:
            own = codes == place
            low, middle, high = np.quantile(self._away[own], QUARTILES).tolist()
            rows.append(
                {
                    "level": levels[place],
                    "rows": int(counts[place]),
                    "low": low,
                    "middle": middle,
                    "high": high,
                }
            )
        y = names(alt.Y, "level", order=[row["level"] for row in rows])
        x = numbers(alt.X, "middle", f"predicted minus actual, {self._unit}", zero=True)
        return chart(
            name,
            f"Errors by {title}",
            f"The median of predicted minus actual, in {self._unit}, and the middle half of the "
            f"rows, for the {len(rows)} most frequent levels.",
            [level(0.0, alt.X), *means(x, y, "low", "high", upright=False)],
            rows,
            {
                "level": title,
                "rows": "rows",
                "low": "lower quarter",
                "middle": "median",
                "high": "upper quarter",
            },
        )

    def _map(self, places: Vector) -> Chart:
        rows = self._points({"north": places[:, 0], "east": places[:, 1], "away": self._away})
        for row in rows:
            row["way"] = "predicted too high" if row["away"] > 0 else "predicted too low"
            row["size"] = abs(row["away"])
        rows = [row for row in rows if np.isfinite(row["north"]) and np.isfinite(row["east"])]
        x, y = (
            numbers(kind, field, title, form="~f")
            for kind, field, title in ((alt.X, "east", "east"), (alt.Y, "north", "north"))
        )
        most = float(np.quantile([row["size"] for row in rows], 0.95)) if rows else 1.0
        layer = dots(
            x,
            y,
            color=alt.Color(
                "way:N",
                sort=["predicted too high", "predicted too low"],
                legend=alt.Legend(symbolType="circle", symbolStrokeWidth=0),
            ),
            size=alt.Size(
                "size:Q",
                scale=alt.Scale(domain=[0, most], range=[2, 120], clamp=True),
                legend=None,
            ),
        )
        return chart(
            "map",
            "Errors on the map",
            f"A larger dot is a larger error in {self._unit}; its colour says which way. "
            f"{self._of.sample_words}",
            [layer],
            rows,
            {"row": "row", "north": "north", "east": "east", "away": f"away, {self._unit}"},
            height=300,
        )
