"""The answers of a model that predicts a number: the number, and an interval around it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel

from models.objectives.base import Answer, Answering, Column, Outputs, Question, Vector
from models.objectives.regression.bounds import Bounds
from models.objectives.regression.intervals import Calibration, spread_within_folds
from models.spec import TargetTransform
from models.tables.faults import RowWarning
from models.tables.wording import rounded_text

PREDICTION, LOW, HIGH, COVERAGE = "prediction", "low", "high", "coverage"
MOST_COVERAGES = 64  # whose bounds a loaded model remembers
VALUE = "value"  # the predictions in tensors and in model.onnx


class MeasuredInterval(BaseModel):
    """A requested coverage, and the share of `rows` unseen rows whose truth was inside.

    `mean_width` is on the target's own scale. None: there was no interval.
    """

    coverage: float
    rows: int
    measured: float | None
    mean_width: float | None


class RegressionModel(BaseModel):
    """What a manifest has for a model that predicts a number. None or empty: the model is of an
    earlier version."""

    spec: dict[str, Any]
    first_served: int
    members_per_fold: int
    target_transform: TargetTransform = "none"
    calibration: Calibration | None = None
    bounds: Bounds | None = None
    intervals: list[MeasuredInterval] = []

    @classmethod
    def of(cls, manifest: Any) -> RegressionModel:
        return cls(
            spec=manifest.spec,
            first_served=manifest.first_served,
            members_per_fold=manifest.members_per_fold,
            **(manifest.model_extra or {}),
        )


class RegressionAnswers(Answering):
    """low, high : bounds of an interval with the requested coverage; NaN if there is none."""

    methods: ClassVar = {"predict": VALUE}
    columns = (
        Column(PREDICTION, ("value",), tensor=VALUE),
        Column(LOW, ("interval", "low"), tensor="low"),
        Column(HIGH, ("interval", "high"), tensor="high"),
        Column(COVERAGE, ("interval", "coverage"), is_default=False),
    )

    def __init__(self, model: RegressionModel) -> None:
        self._model = model
        calibration = model.calibration
        # Finding a bound takes a tenth of the time of a row.
        self._bound = lru_cache(MOST_COVERAGES)(
            (lambda _: None) if calibration is None else calibration.bound
        )

    def answer(self, outputs: Outputs, question: Question) -> Answer:
        values, members, coverage = outputs.values, outputs.members, question.coverage
        low, high = self._interval(outputs, coverage)
        odd: list[tuple[int, RowWarning]] = []
        if self._model.bounds is not None:
            # If a network went beyond the training targets, the truth may be anywhere in their
            # range.
            first = self._model.first_served
            reached = self._model.bounds.reached(members, first)
            if reached.any():
                lowest, highest = self._model.bounds.range(first)
                bounded = prediction_bounded(lowest, highest)
                odd = [(int(row), bounded) for row in reached.nonzero()[0]]
                low = np.where(reached, np.minimum(low, lowest), low)
                high = np.where(reached, np.maximum(high, highest), high)
        cells = {
            PREDICTION: values,
            LOW: low,
            HIGH: high,
            COVERAGE: np.full(len(values), coverage),
        }
        return Answer(cells, odd, self._about_all(coverage))

    def _about_all(self, coverage: float) -> list[RowWarning]:
        calibration = self._model.calibration
        return [no_interval(calibration, coverage)] if self._bound(coverage) is None else []

    def _interval(self, outputs: Outputs, coverage: float) -> tuple[Vector, Vector]:
        values = outputs.values
        calibration, transform = self._model.calibration, self._model.target_transform
        bound = self._bound(coverage)
        if calibration is None or bound is None:
            nothing = np.full(len(values), np.nan)
            return nothing, nothing
        spread = np.zeros(1)
        if calibration.difficulty.spread > 0:
            served = replace(outputs, members=outputs.members[self._model.first_served :])
            spread = spread_within_folds(served, self._model.members_per_fold, transform)
        return calibration.interval(values, spread, bound, transform)


def no_interval(calibration: Calibration | None, coverage: float) -> RowWarning:
    if calibration is None:
        detail = "the model was trained by an earlier version without intervals: train it again"
    else:
        what = "scored rows" if calibration.groups is None else "scored groups"
        detail = (
            f"an interval that contains {100 * coverage:g} % of the truths needs "
            f"{calibration.units_needed(coverage)} {what} outside of a fold, got "
            f"{calibration.units}: request a smaller coverage"
        )
    return RowWarning("no_interval", None, detail)


def prediction_bounded(lowest: float, highest: float) -> RowWarning:
    return RowWarning(
        "prediction_bounded",
        None,
        "a network's output went beyond the training targets and was clipped to "
        f"{rounded_text(lowest, 6)} to {rounded_text(highest, 6)}: check the row, and do not rely "
        "on this prediction; its interval spans the whole range",
    )
