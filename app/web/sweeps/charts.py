"""The charts of a sweep. Each is made of the leaderboard, so which of two trials is better is known
by their places, whichever way the metric points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.sweeps.schemas import SweepOut, TrialOut
from app.web.formats import metric as metric_words
from app.web.sweeps.documents import (
    Json,
    document,
    dots,
    large_dots,
    line,
    names,
    numbers,
    spans,
    within,
)
from app.web.sweeps.parameters import Parameter
from app.web.sweeps.several import heat_map, parallel
from models.evaluation.simplicity import front
from models.figures import number

MOST_SLICES = 12
KIBIBYTE = 1024
# The worst trials of a sweep may err a hundred times as much. An axis ends at this share of the
# trials if the worst is so many times as far from the best.
SHOWN_SHARE, FAR = 0.75, 3.0


@dataclass(frozen=True)
class Scored:
    """Trials with a value, the best first, and what charts of a sweep share."""

    trials: Sequence[TrialOut]
    metric: str
    parameters: Sequence[Parameter]

    @classmethod
    def of(
        cls, sweep: SweepOut, trials: Sequence[TrialOut], parameters: Sequence[Parameter]
    ) -> Scored:
        scored = [trial for trial in trials if trial.value is not None]
        return cls(scored, metric_words(sweep.metric), parameters)

    @property
    def values(self) -> list[float]:
        return [trial.value for trial in self.trials if trial.value is not None]

    @property
    def shown(self) -> tuple[float, float] | None:
        """What the axis of the metric shows, if some trials err far more than the others."""
        values = self.values
        edge = values[int(SHOWN_SHARE * (len(values) - 1))]
        if abs(values[-1] - values[0]) <= FAR * abs(edge - values[0]) or edge == values[0]:
            return None
        margin = 0.05 * (edge - values[0])
        low, high = sorted((values[0] - margin, edge + margin))
        return low, high

    @property
    def axis(self) -> Json:
        axis = numbers("value", self.metric)
        return axis if self.shown is None else within(axis, *self.shown)

    @property
    def cut(self) -> str:
        """What to say of an axis that does not show everything."""
        return "" if self.shown is None else " Trials that err far more are drawn at the edge."

    def label(self, trial: TrialOut) -> str:
        return f"trial {trial.trial}: {self.metric} {number(trial.value)}"


def documents(
    sweep: SweepOut,
    trials: Sequence[TrialOut],
    parameters: Sequence[Parameter],
    importance: Mapping[str, float],
    asked: Sequence[str | None],
) -> list[Json]:
    """All charts; none before two trials have a value. asked : fields of the heat map, or None"""
    scored = Scored.of(sweep, trials, parameters)
    if len(scored.trials) < 2:
        return []
    return [
        *_fronts(scored),
        _history(scored),
        *_importance(scored, importance),
        *(_slice(scored, own) for own in _drawn(scored)),
        *heat_map(scored.trials, scored.metric, parameters, asked),
        *parallel(scored.trials, scored.metric, parameters),
    ]


def _fronts(scored: Scored) -> Iterator[Json]:
    """Error against each cost, of which trials have different ones."""
    costs: dict[str, tuple[str, list[float | None]]] = {
        "row_time": (
            "ms to predict a row",
            [own and 1000 * own for own in (trial.row_seconds for trial in scored.trials)],
        ),
        "size": (
            "KiB of weights",
            [own and own / KIBIBYTE for own in (trial.bytes for trial in scored.trials)],
        ),
    }
    words = {
        "row_time": ("Error against the time of a row", "no other is both better and quicker"),
        "size": ("Error against size", "no other is both better and smaller"),
    }
    places = range(len(scored.trials))
    for name, (cost, each) in costs.items():
        known = [(place, own) for place, own in zip(places, each, strict=True) if own]
        if len({own for _, own in known}) < 2:
            continue
        chosen = {known[i][0] for i in front(*zip(*known, strict=True))}
        rows = [
            {
                "trial": scored.trials[place].trial,
                "cost": own,
                "value": scored.trials[place].value,
                "label": f"{scored.label(scored.trials[place])}, {number(own, 3)} {cost}",
                "front": place in chosen,
                "beaten": "" if place in chosen else "yes",
            }
            for place, own in known
        ]
        x, y = numbers("cost", cost, log=True), scored.axis
        title, reason = words[name]
        yield document(
            f"front_{name}",
            title,
            f"Each dot is a trial. Choose among those on the line: {reason}." + scored.cut,
            [dots(x, y), line(x, y, "front", interpolate="step-after"), large_dots(x, y, "front")],
            rows,
            {"trial": "trial", "value": scored.metric, "cost": cost, "beaten": "beaten"},
        )


def _history(scored: Scored) -> Json:
    place_of = {trial.trial: place for place, trial in enumerate(scored.trials)}
    rows: list[Json] = []
    best = len(place_of)
    for trial in sorted(scored.trials, key=lambda own: own.trial):
        best = min(best, place_of[trial.trial])
        rows.append(
            {
                "trial": trial.trial,
                "value": trial.value,
                "best": scored.trials[best].value,
                "label": scored.label(trial),
            }
        )
    x, y = numbers("trial", "trial", format="~d", tickMinStep=1), scored.axis
    return document(
        "history",
        "The best so far",
        "Each dot is a trial; the line is the best up to there. If it still falls at the end, more "
        "trials may help." + scored.cut,
        [dots(x, y), line(x, y | {"field": "best"}, interpolate="step-after")],
        rows,
        {"trial": "trial", "value": scored.metric, "best": "best so far"},
    )


def _importance(scored: Scored, importance: Mapping[str, float]) -> Iterator[Json]:
    rows = [
        {"name": own.label, "share": importance[own.name]}
        for own in scored.parameters
        if own.name in importance
    ]
    if not rows:
        return
    x = numbers("share", "share of the difference", format="%")
    x = within(x, 0.0, 1.0)
    y = names("name", None, [str(row["name"]) for row in rows])
    yield document(
        "importance",
        "Which fields mattered",
        "How much the values of the best tenth of the trials differ from those of all, by field. A "
        "field whose range was narrow matters little here.",
        [{"mark": {"type": "bar", "style": "bar"}, "encoding": {"x": x, "y": y}}],
        rows,
        {"name": "field", "share": "share"},
        height=20 * len(rows) + 20,
    )


def _drawn(scored: Scored) -> list[Parameter]:
    """The most important fields of which trials have different values."""
    return [
        own
        for own in scored.parameters
        if len({value for t in scored.trials if (value := own.of(t.params)) is not None}) > 1
    ][:MOST_SLICES]


def _slice(scored: Scored, parameter: Parameter) -> Json:
    rows: list[dict[str, Any]] = []
    for trial in scored.trials:
        at = parameter.of(trial.params)
        folds = [value for value in trial.folds if value is not None]
        if at is None:
            continue
        rows.append(
            {
                "trial": trial.trial,
                "at": at,
                "value": trial.value,
                "low": min(folds, default=trial.value),
                "high": max(folds, default=trial.value),
                "label": f"{scored.label(trial)}, {at if isinstance(at, str) else number(at)}",
            }
        )
    if parameter.is_number:
        x = numbers("at", parameter.label, log=parameter.log, tickCount=4)
    else:
        x = names("at", parameter.label, sorted({row["at"] for row in rows}))
    y = scored.axis
    return document(
        f"slice_{parameter.name}",
        f"By {parameter.label}",
        "A dot a trial, and a line from its best fold to its worst." + scored.cut,
        [spans(x, y, "low", "high"), dots(x, y)],
        rows,
        {
            "trial": "trial",
            "at": parameter.label,
            "value": scored.metric,
            "low": "fold from",
            "high": "to",
        },
    )
