"""The answers of a model that predicts classes: a class, probabilities and a set of classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel

from models.objectives.base import (
    ALL_CLASSES,
    Answer,
    Answering,
    Column,
    Outputs,
    Question,
    Unanswerable,
    Vector,
)
from models.objectives.classification.sets import bounds, chance, decided, listed, members
from models.tables.faults import RowWarning, quoted

# With more classes, an answer lists only the probabilities of those in a row's set.
FEW_CLASSES = 20
# The log-odds of a probability of 0 or 1 are infinite.
CLOSEST = 1e-15
PREDICTION, PROBABILITY, PROBABILITIES, SET = "prediction", "probability", "probabilities", "set"
COVERAGE = "coverage"


class SetBounds(BaseModel):
    """The upper scores of the true classes of `rows` out-of-fold rows, ascending, and their
    ranks."""

    rows: int
    ranks: list[int]
    scores: list[float]


class SetCalibration(SetBounds):
    """`by_class`: of the rows of each class; empty if a class has too few for any coverage."""

    by_class: dict[str, SetBounds] = {}


class Classes(BaseModel):
    """The member `classes` of a manifest.

    positive : index of the positive one of two classes
    threshold : the probability from which it is predicted
    shares : of the out-of-fold rows by predicted class
    """

    levels: list[str]
    positive: int | None
    threshold: float
    shares: list[float]
    calibration: SetCalibration


class ClassAnswers(Answering):
    """A set contains the true class with the requested frequency."""

    def __init__(self, classes: Classes) -> None:
        self._classes = classes
        self._levels = tuple(classes.levels)
        self._places = {level: place for place, level in enumerate(self._levels)}
        self._calibration = classes.calibration.model_dump()
        self._bounds: dict[tuple[float, bool], np.ndarray] = {}
        self._words = np.array(self._levels, object)
        self.is_short = len(self._levels) <= FEW_CLASSES
        self.shares = classes.shares
        self.columns = (
            Column(PREDICTION, ("value",), tensor="label", is_text=True),
            Column(PROBABILITY, (), tensor=PROBABILITY),
            Column(PROBABILITIES, (PROBABILITIES,), in_csv=False),
            *(
                Column(column_of(level), (), tensor=PROBABILITIES, is_default=False)
                for level in self._levels
            ),
            Column(SET, (SET, "levels"), tensor=SET, is_text=True),
            Column(COVERAGE, (SET, COVERAGE), is_default=False),
        )

    def check(self, question: Question) -> None:
        if question.threshold is not None and self._classes.positive is None:
            raise Unanswerable(
                "threshold", f"applies to two classes, and the model has {len(self._levels)}"
            )
        for level in question.classes:
            if level != ALL_CLASSES:
                self._place(level, "classes")
        if question.explained_class is not None:
            self._place(question.explained_class, "explained_class")
        if question.by_class and not self._classes.calibration.by_class:
            raise Unanswerable(
                "by_class", "some classes have too few rows for sets of their own coverage"
            )

    def _place(self, level: str, option: str) -> int:
        if level not in self._places:
            known = ", ".join(quoted(name) for name in self._levels[:5])
            more = ", …" if len(self._levels) > 5 else ""
            raise Unanswerable(option, f"{quoted(level)} is not a class: {known}{more}")
        return self._places[level]

    def answer(self, outputs: Outputs, question: Question) -> Answer:
        classes, values = self._classes, outputs.values
        threshold = classes.threshold if question.threshold is None else question.threshold
        places = decided(values, classes.positive, threshold)
        largest = self._bounds_of(question)
        inside = members(values, chance(outputs.numbers, outputs.codes), largest)
        sets = [listed(*row, self._levels) for row in zip(values, inside, strict=True)]
        cells: dict[str, Any] = {
            PREDICTION: self._words[places].tolist(),
            PROBABILITY: np.take_along_axis(values, places[:, None], 1)[:, 0],
            PROBABILITIES: self._listed(values, sets, places, question.classes),
            SET: sets,
            COVERAGE: np.full(len(values), question.coverage),
        }
        about_all = [] if np.isfinite(largest).all() else [too_few_rows(question.coverage)]
        return Answer(_Cells(cells, values, self._places), (), about_all, places)

    def _bounds_of(self, question: Question) -> np.ndarray:
        key = (question.coverage, question.by_class)
        if key not in self._bounds:
            if len(self._bounds) > MOST_CACHED:
                self._bounds.clear()
            self._bounds[key] = bounds(
                self._calibration, self._levels, question.coverage, by_class=question.by_class
            )
        return self._bounds[key]

    def _listed(
        self,
        values: Vector,
        sets: Sequence[Sequence[str]],
        places: np.ndarray,
        asked: tuple[str, ...],
    ) -> list[dict[str, float]]:
        """For each row, the probabilities that are asked for."""
        if not asked and not self.is_short:
            predicted = self._words[places].tolist()
            rows = zip(values, sets, predicted, strict=True)
            return [
                {level: float(row[self._places[level]]) for level in dict.fromkeys((own, *levels))}
                for row, levels, own in rows
            ]
        levels = self._levels if not asked or ALL_CLASSES in asked else asked
        chosen = values[:, [self._places[level] for level in levels]].tolist()
        return [dict(zip(levels, row, strict=True)) for row in chosen]

    def explained(
        self, values: Vector, question: Question
    ) -> tuple[str | None, Callable[[Vector], Vector]]:
        """The log-odds of the class."""
        level = question.explained_class
        if level is None:
            threshold = (
                self._classes.threshold if question.threshold is None else question.threshold
            )
            place = int(decided(values, self._classes.positive, threshold)[0])
        else:
            place = self._places[level]

        def log_odds(values: Vector) -> Vector:
            own = np.clip(values[:, place], CLOSEST, 1 - CLOSEST)
            odds: Vector = np.log(own) - np.log1p(-own)
            return odds

        return self._levels[place], log_odds


MOST_CACHED = 100  # coverages whose bounds are kept


class _Cells(Mapping[str, Any]):
    """The cells of an answer; those of single classes are views."""

    def __init__(self, cells: dict[str, Any], values: Vector, places: Mapping[str, int]) -> None:
        self._cells, self._values, self._places = cells, values, places

    def __getitem__(self, name: str) -> Any:
        if name in self._cells:
            return self._cells[name]
        return self._values[:, self._places[name[2:-1]]]

    def __iter__(self) -> Any:
        return iter([*self._cells, *map(column_of, self._places)])

    def __len__(self) -> int:
        return len(self._cells) + len(self._places)


def column_of(level: str) -> str:
    """The name of the column with a class's probability."""
    return f"p({level})"


def too_few_rows(coverage: float) -> RowWarning:
    return RowWarning(
        "no_set",
        None,
        f"the model has too few out-of-fold rows for sets that contain {100 * coverage:g} % of the "
        "truths: each set has every class; request a smaller coverage",
    )
