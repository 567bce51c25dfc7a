"""The answers of a model that predicts classes: a class, probabilities and a set of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from pydantic import BaseModel

from models.objectives.base import (
    ALL_CLASSES,
    Answer,
    Answering,
    Codes,
    Column,
    Outputs,
    Question,
    Unanswerable,
    Vector,
)
from models.objectives.classification.cells import (
    COVERAGE,
    FEW_CLASSES,
    LABEL,
    PREDICTION,
    PROBABILITIES,
    PROBABILITY,
    SET,
    Cells,
    Levels,
    column_of,
)
from models.objectives.classification.sets import bounds, decided, joined
from models.tables.faults import RowWarning, quoted

# The log-odds of a probability of 0 or 1 are infinite.
CLOSEST = 1e-15
MOST_CACHED = 100  # coverages whose bounds are kept
NAMED = 5  # classes in a message


class SetBounds(BaseModel):
    """The upper scores of the true classes of `rows` out-of-fold rows, ascending, and their
    ranks."""

    rows: int
    ranks: list[int]
    scores: list[float]


class SetCalibration(SetBounds):
    """`by_class`: of the rows of each class; empty if a class has too few for any coverage."""

    by_class: dict[str, SetBounds] = {}


class MeasuredSet(BaseModel):
    """A requested coverage, and the share of `rows` unseen rows whose true class was in its set.
    None without such rows.

    mean_size : number of classes in a set
    empty : share of the sets without a class
    by_class : the measured share of the rows of each class
    """

    coverage: float
    rows: int
    measured: float | None
    mean_size: float | None
    empty: float | None
    by_class: dict[str, float | None]


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

    needs_members = False
    methods: ClassVar = {"predict": LABEL, "predict_proba": PROBABILITIES}

    def __init__(self, classes: Classes) -> None:
        self._classes = classes
        self._levels = Levels(classes.levels)
        self._calibration = classes.calibration.model_dump()
        self._bounds: dict[tuple[float, bool], Vector] = {}
        self.shares = classes.shares
        is_short = len(self._levels) <= FEW_CLASSES
        self.columns = (
            Column(PREDICTION, ("value",), tensor=LABEL, is_text=True),
            Column(PROBABILITY, (), tensor=PROBABILITY),
            Column(PROBABILITIES, (PROBABILITIES,), in_csv=False),
            *(
                Column(name, (), tensor=PROBABILITIES, is_default=False, is_default_tensor=is_short)
                for name in self._levels.by_column
            ),
            Column(SET, (SET, "levels"), tensor=SET, is_text=True, written=joined),
            Column(COVERAGE, (SET, COVERAGE), is_default=False),
        )

    def usual(self, question: Question) -> list[Column]:
        """With the columns of the classes that the request names."""
        asked = question.classes
        named = self._levels.names if ALL_CLASSES in asked else asked
        names = {column_of(name) for name in named}
        return [
            column
            for column in self.columns
            if column.in_csv and (column.is_default or column.name in names)
        ]

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
        place = self._levels.places.get(level)
        if place is None:
            known = ", ".join(quoted(name) for name in self._levels.names[:NAMED])
            more = ", …" if len(self._levels) > NAMED else ""
            raise Unanswerable(option, f"{quoted(level)} is not a class: {known}{more}")
        return place

    def answer(self, outputs: Outputs, question: Question) -> Answer:
        predicted = self._decided(outputs.values, question.threshold)
        largest = self._bounds_of(question)
        about_all = [] if np.isfinite(largest).all() else [too_few_rows(question)]
        return Answer(
            Cells(self._levels, outputs, question, predicted, largest),
            about_all=about_all,
            bins=self._decided(outputs.values, None),
        )

    def _decided(self, values: Vector, threshold: float | None) -> Codes:
        """(N,) the places of the predicted classes."""
        own = self._classes.threshold if threshold is None else threshold
        return decided(values, self._classes.positive, own)

    def _bounds_of(self, question: Question) -> Vector:
        key = (question.coverage, question.by_class)
        found = self._bounds.get(key)
        if found is None:
            found = bounds(
                self._calibration,
                self._levels.names,
                question.coverage,
                by_class=question.by_class,
            )
            if len(self._bounds) > MOST_CACHED:
                self._bounds.clear()
            self._bounds[key] = found
        return found

    def explained(
        self, values: Vector, question: Question
    ) -> tuple[str | None, Callable[[Vector], Vector]]:
        """The log-odds of the class."""
        level = question.explained_class
        if level is None:
            place = int(self._decided(values, question.threshold)[0])
        else:
            place = self._levels.places[level]

        def log_odds(values: Vector) -> Vector:
            own = np.clip(values[:, place], CLOSEST, 1 - CLOSEST)
            odds: Vector = np.log(own) - np.log1p(-own)
            return odds

        return self._levels.names[place], log_odds


def too_few_rows(question: Question) -> RowWarning:
    whose, which = ("of some classes ", "those") if question.by_class else ("", "all")
    return RowWarning(
        "no_set",
        None,
        f"the model has too few out-of-fold rows {whose}for sets that contain "
        f"{100 * question.coverage:g} % of the truths: each set has {which} classes; request a "
        "smaller coverage",
    )
