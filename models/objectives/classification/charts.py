"""Charts of predicted classes: whether probabilities hold, and which classes are confused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt
import numpy as np

from models.charts.chart import Chart, base, chart
from models.charts.drawings import WHOLE, Layers, bars, diagonal, level, means, names, numbers
from models.figures import one_line, percent
from models.objectives.base import Codes, Vector
from models.objectives.charted import Charted

BINS = 10
# A class more in a drawing makes it hard to read; the most frequent ones are drawn.
MOST_CURVES = 5
MOST_IN_MATRIX = 12
# Points of one curve: more are not seen.
MOST_POINTS = 200
NAME_LENGTH = 24


def charts(charted: Charted) -> list[Chart]:
    """In the order in which they are read."""
    return [*_Classes(charted).all()]


class _Classes:
    def __init__(self, charted: Charted) -> None:
        self._of = charted
        self._actual = charted.actual.astype(np.int64)
        self._levels = [one_line(name, NAME_LENGTH) for name in charted.levels]
        decision = charted.result["decision"]
        self._positive = None if decision is None else charted.levels.index(decision["positive"])

    def all(self) -> Iterator[Chart]:
        yield self._calibration()
        if len(self._levels) <= MOST_IN_MATRIX:
            yield self._confusion()
        elif self._of.result["confusion"]["most_confused"]:
            yield self._most_confused()
        curves = [(name, *_thresholds(*own)) for name, own in self._one_against_rest()]
        if curves:
            yield self._roc(curves)
            yield self._precision_recall(curves)

    def _one_against_rest(self) -> Iterator[tuple[str, tuple[Vector, Vector]]]:
        """Of the positive class, or of each of the most frequent ones: whether a row has it, and
        its probability."""
        counts = np.bincount(self._actual, minlength=len(self._levels))
        chosen: Sequence[int] = np.argsort(-counts, kind="stable")[:MOST_CURVES].tolist()
        if self._positive is not None:
            chosen = [self._positive]
        for place in chosen:
            if 0 < counts[place] < len(self._actual):
                own = (self._actual == place).astype(float)
                yield self._levels[place], (own, self._of.values[:, place])

    def _calibration(self) -> Chart:
        if self._positive is not None:
            said = self._of.values[:, self._positive]
            true = self._actual == self._positive
            what = f"probability of {self._levels[self._positive]}"
        else:
            said = self._of.values.max(1)
            true = self._of.values.argmax(1) == self._actual
            what = "probability of the predicted class"
        bins = np.minimum((said * BINS).astype(int), BINS - 1)
        rows = []
        for place in np.unique(bins):
            own = bins == place
            share = float(true[own].mean())
            doubt = float(np.sqrt(share * (1 - share) / own.sum()))
            rows.append(
                {
                    "said": float(said[own].mean()),
                    "share": share,
                    "error": doubt,
                    "low": max(0.0, share - doubt),
                    "high": min(1.0, share + doubt),
                    "rows": int(own.sum()),
                }
            )
        x = numbers(alt.X, "said", what, form="%", domain=(0, 1))
        y = numbers(alt.Y, "share", "share of rows", form="%", domain=(0, 1))
        return chart(
            "calibration",
            "Do the probabilities hold?",
            f"Rows by the {what}: how often it was right, ± one standard error. On the dashed "
            "line the probabilities are right.",
            [diagonal(0, 1), *means(x, y, "low", "high")],
            rows,
            {"said": what, "share": "share of rows", "error": "±", "rows": "rows"},
        )

    def _confusion(self) -> Chart:
        counts = self._of.result["confusion"]["rows"]
        rows = []
        for actual, own in zip(self._levels, counts, strict=True):
            for predicted, count in zip(self._levels, own, strict=True):
                share = count / max(1, sum(own))
                rows.append(
                    {"actual": actual, "predicted": predicted, "rows": count, "share": share}
                )
        x = names(alt.X, "predicted", "predicted", self._levels)
        y = names(alt.Y, "actual", "actual", self._levels)
        shade = alt.FillOpacity(
            "share:Q", scale=alt.Scale(domain=[0, 1], range=[0.04, 0.6]), legend=None
        )
        return chart(
            "confusion",
            "Which classes are taken for which",
            "Rows by actual and predicted class, out of fold; the darker, the larger the share of "
            "the actual class.",
            [
                base().mark_rect(style="cell").encode(x=x, y=y, fillOpacity=shade),
                base().mark_text(style="count").encode(x=x, y=y, text="rows:Q"),
            ],
            rows,
            {"actual": "actual", "predicted": "predicted", "rows": "rows", "share": "share"},
        )

    def _most_confused(self) -> Chart:
        rows = [
            {
                "pair": f"{one_line(pair['actual'], NAME_LENGTH)} → "
                f"{one_line(pair['predicted'], NAME_LENGTH)}",
                "rows": pair["rows"],
            }
            for pair in self._of.result["confusion"]["most_confused"]
        ]
        y = names(alt.Y, "pair", order=[str(row["pair"]) for row in rows])
        return chart(
            "confusion",
            "Which classes are taken for which",
            "The pairs that are confused most often: actual → predicted.",
            [bars(numbers(alt.X, "rows", "rows", zero=True, form=WHOLE), y)],
            rows,
            {"pair": "actual → predicted", "rows": "rows"},
            height=22 * len(rows) + 20,
        )

    def _roc(self, curves: list[tuple[str, Vector, Vector, Vector]]) -> Chart:
        rows = [
            {"class": name, "false": float(f), "true": float(t), "place": place}
            for name, recall, alarms, _ in curves
            for place, (f, t) in enumerate(zip(alarms, recall, strict=True))
        ]
        x = numbers(alt.X, "false", "false alarms", form="%", domain=(0, 1))
        y = numbers(alt.Y, "true", "found", form="%", domain=(0, 1))
        return chart(
            "roc",
            "Found against false alarms (ROC)",
            f"For every threshold: the share of the rows of {self._whom(curves)} that is found, "
            "and the share of the others that is taken for it. The dashed line is chance.",
            [diagonal(0, 1), *self._curves(x, y, len(curves))],
            rows,
            {"class": "class", "false": "false alarms", "true": "found"},
        )

    def _precision_recall(self, curves: list[tuple[str, Vector, Vector, Vector]]) -> Chart:
        rows = [
            {"class": name, "recall": float(r), "precision": float(p), "place": place}
            for name, recall, _, precision in curves
            for place, (r, p) in enumerate(zip(recall, precision, strict=True))
            if np.isfinite(p)
        ]
        x = numbers(alt.X, "recall", "found (recall)", form="%", domain=(0, 1))
        y = numbers(alt.Y, "precision", "right (precision)", form="%", domain=(0, 1))
        layers: Layers = [*self._curves(x, y, len(curves))]
        words = ""
        if self._positive is not None:
            share = float((self._actual == self._positive).mean())
            layers = [level(share), *layers]
            words = f" The dashed line is chance: {percent(share)} of the rows have it."
        return chart(
            "precision_recall",
            "Right against found (precision and recall)",
            f"For every threshold: the share of the rows of {self._whom(curves)} that is found, "
            f"and the share of the rows said to be it that are.{words}",
            layers,
            rows,
            {"class": "class", "recall": "found", "precision": "right"},
        )

    def _whom(self, curves: Sequence[tuple[Any, ...]]) -> str:
        return str(curves[0][0]) if len(curves) == 1 else "a class"

    def _curves(self, x: Any, y: Any, count: int) -> Layers:
        line = base().mark_line(style="curve").encode(x=x, y=y, order="place:Q")
        return [line.encode(color=alt.Color("class:N")) if count > 1 else line]


def _thresholds(true: Vector, said: Vector) -> tuple[Vector, Vector, Vector]:
    """Recall, share of false alarms, and precision, from the highest threshold to the lowest."""
    order = np.argsort(-said, kind="stable")
    ends = np.flatnonzero(np.diff(said[order], append=-np.inf))
    found, taken = np.cumsum(true[order])[ends], ends + 1.0
    recall = np.append(0.0, found / true.sum())
    alarms = np.append(0.0, (taken - found) / (1 - true).sum())
    precision = np.append(np.nan, found / taken)
    kept: Codes = np.unique(np.linspace(0, len(recall) - 1, MOST_POINTS).astype(np.int64))
    return recall[kept], alarms[kept], precision[kept]
