"""Charts of several searched fields at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.sweeps.schemas import TrialOut
from app.web.sweeps.documents import Json, document, names, numbers, texts
from app.web.sweeps.parameters import Parameter
from models.charts.theme import ACCENT, INK, SOFT
from models.figures import number

# Of parallel coordinates: fields beside the metric, and lines.
LEAST_AXES, MOST_AXES, MOST_LINES = 3, 6, 200  # of two, the heat map says more
BEST_SHARE = 0.1
FAINTEST, STRONGEST = 0.08, 0.6  # behind words that must stay legible
CELL = 44  # pixels
SHORTEST = 12  # characters of a word at an end of an axis


@dataclass(frozen=True)
class Axis:
    """A field's axis. low, high : what stands at its ends; places : of trials, from 0 to 1; shown :
    their values in words"""

    label: str
    low: str
    high: str
    places: Mapping[int, float]
    shown: Mapping[int, str]


def _pair(
    parameters: Sequence[Parameter], asked: Sequence[str | None]
) -> tuple[Parameter, Parameter] | None:
    """The fields of the heat map: those asked for, and otherwise the most important, numbers first;
    None if there are not two."""
    left = sorted(parameters, key=lambda own: not own.is_number)
    found = {own.name: own for name in asked for own in left if own.name == name}
    for own in left:
        if len(found) < 2:
            found.setdefault(own.name, own)
    if len(found) < 2:
        return None
    one, other = found.values()
    return one, other


def heat_map(
    trials: Sequence[TrialOut],
    metric: str,
    parameters: Sequence[Parameter],
    asked: Sequence[str | None],
) -> Iterator[Json]:
    pair = _pair(parameters, asked)
    if pair is None:
        return
    one, other = pair
    known = [
        (x, y, trial.value)
        for trial in trials
        if (x := one.of(trial.params)) is not None and (y := other.of(trial.params)) is not None
    ]
    if len(known) < 2:
        return
    x_order, x_of = one.parts([x for x, _, _ in known])
    y_order, y_of = other.parts([y for _, y, _ in known])
    cells: dict[tuple[str, str], list[float]] = {}
    for x, y, (_, _, value) in zip(x_of, y_of, known, strict=True):
        cells.setdefault((x, y), []).append(value or 0.0)
    means = {place: sum(values) / len(values) for place, values in cells.items()}
    rises = (trials[0].value or 0.0) > (trials[-1].value or 0.0)  # whether larger is better
    ranked = sorted(means, key=lambda place: means[place], reverse=not rises)
    step = (STRONGEST - FAINTEST) / max(len(ranked) - 1, 1)
    rows = [
        {
            "x": x,
            "y": y,
            "mean": means[x, y],
            "trials": len(cells[x, y]),
            "shade": FAINTEST + place * step,
            "text": number(means[x, y], 3),
        }
        for place, (x, y) in enumerate(ranked)
    ]
    at = {
        "x": names("x", one.label, x_order, labelAngle=-30),
        "y": names("y", other.label, y_order[::-1]),
    }
    shade = {"field": "shade", "type": "quantitative", "scale": None}
    yield document(
        "heat_map",
        f"{one.label.capitalize()} and {other.label} together",
        f"The mean {metric} of the trials in each part, and the better the darker. Parts without a "
        "trial are empty.",
        [
            {
                "mark": {"type": "rect", "style": "cell", "color": ACCENT},
                "encoding": {**at, "opacity": shade},
            },
            {
                "mark": {"type": "text", "fontSize": 11, "color": INK},
                "encoding": {**at, "text": {"field": "text"}},
            },
        ],
        rows,
        {"x": one.label, "y": other.label, "mean": f"mean {metric}", "trials": "trials"},
        height=CELL * len(y_order),
    )


def parallel(
    trials: Sequence[TrialOut], metric: str, parameters: Sequence[Parameter]
) -> Iterator[Json]:
    """A line a trial across an axis for each field."""
    axes = [_axis(own, trials) for own in parameters[:MOST_AXES]]
    if len(axes) < LEAST_AXES:
        return
    best = max(1, round(BEST_SHARE * len(trials)))
    rows: list[dict[str, Any]] = []
    for place, trial in enumerate(trials[:MOST_LINES]):
        for axis in axes:
            at = axis.places.get(trial.trial)
            if at is not None:
                rows.append(
                    {
                        "trial": trial.trial,
                        "axis": axis.label,
                        "at": at,
                        "best": place < best,
                        "is": axis.shown[trial.trial],
                        "value": trial.value,
                    }
                )
    order = [axis.label for axis in axes]
    x = names("axis", None, order, labelAngle=-30, labelPadding=20, grid=True)
    y = numbers("at", None, labels=False, grid=False) | {"scale": {"domain": [0, 1]}}
    detail = {"field": "trial", "type": "nominal"}

    def lines(chosen: str, **mark: Any) -> Json:
        return {
            "transform": [{"filter": chosen}],
            "mark": {"type": "line", **mark},
            "encoding": {"x": x, "y": y, "detail": detail},
        }

    ends = [{"axis": axis.label, "at": 1, "text": axis.high} for axis in axes]
    starts = [{"axis": axis.label, "at": 0, "text": axis.low} for axis in axes]
    yield document(
        "parallel",
        "All fields at once",
        "A line a trial; the best tenth are in colour"
        + (f", and the best {MOST_LINES} are drawn." if len(trials) > MOST_LINES else "."),
        [
            lines("!datum.best", color=SOFT, opacity=0.2, strokeWidth=1),
            lines("datum.best", color=ACCENT, opacity=0.9, strokeWidth=1.5),
            texts(ends, x, y, "bottom", -4),
            texts(starts, x, y, "top", 4),
        ],
        rows,
        {"trial": "trial", "axis": "field", "is": "value", "value": metric},
        height=240,
    )


def _axis(parameter: Parameter, trials: Sequence[TrialOut]) -> Axis:
    known = {
        trial.trial: value for trial in trials if (value := parameter.of(trial.params)) is not None
    }
    shown = {trial: own if isinstance(own, str) else number(own) for trial, own in known.items()}
    if parameter.is_number:
        figures = {trial: float(own) for trial, own in known.items()}
        scale = math.log if parameter.log else float
        scaled = {trial: scale(own) for trial, own in figures.items()}
        low, high = (number(own(figures.values(), default=None), 2) for own in (min, max))
    else:
        order = sorted({str(own) for own in known.values()})
        scaled = {trial: float(order.index(str(own))) for trial, own in known.items()}
        low, high = (order[place][:SHORTEST] if order else "" for place in (0, -1))
    least = min(scaled.values(), default=0.0)
    width = (max(scaled.values(), default=0.0) - least) or 1.0
    places = {trial: (own - least) / width for trial, own in scaled.items()}
    return Axis(parameter.label, low, high, places, shown)
