"""What may be odd about rows to price, in the words of the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from models.serving.intervals import Calibration
from models.serving.manifest import CategoricalFeature, NumericFeature
from models.tables.faults import quoted
from models.tables.wording import moment_text, number_text, rounded_text

WarningCode = Literal[
    "unknown_category",
    "not_a_number",
    "missing_value",
    "out_of_range",
    "outlier",
    "no_interval",
    "prediction_bounded",
    "more_warnings",
]
REFUSED: tuple[WarningCode, ...] = ("unknown_category", "not_a_number", "missing_value")

SHARED = 4096  # columns whose warnings are kept: an empty row has one for each


@dataclass(frozen=True, slots=True)
class RowWarning:
    """Something odd about one cell, about a row, or about all rows of a request."""

    code: WarningCode
    column: str | None
    detail: str


@lru_cache(SHARED)
def missing_value(name: str) -> RowWarning:
    return RowWarning("missing_value", name, f"'{name}' is missing: imputed as in training")


def not_a_number(feature: NumericFeature, cell: str) -> RowWarning:
    what = "a date (ISO 8601)" if feature.kind == "datetime" else "a finite number"
    if feature.reading is not None:
        what += ", or be written as in training"
    return RowWarning(
        "not_a_number",
        feature.name,
        f"'{feature.name}' must be {what}, got {cell}: imputed as if missing",
    )


def unknown_category(feature: CategoricalFeature, level: str) -> RowWarning:
    known = f"the {len(feature.levels):,} levels of '{feature.name}' in training"
    if feature.shares and feature.shares[-1] > 0:
        known = (
            f"the {len(feature.levels):,} most frequent levels of '{feature.name}' in training "
            f"({100 * feature.shares[-1]:.1f} % of its rows had another)"
        )
    return RowWarning(
        "unknown_category",
        feature.name,
        f"{quoted(level)} is not among {known}: the network sees none of them",
    )


def out_of_range(feature: NumericFeature, value: float) -> RowWarning:
    shown = moment_text if feature.kind == "datetime" else number_text
    low, high = (math.nan if bound is None else bound for bound in (feature.low, feature.high))
    return RowWarning(
        "out_of_range",
        feature.name,
        f"'{feature.name}' is {shown(value)}, outside {shown(low)} to {shown(high)} in training",
    )


def no_interval(calibration: Calibration | None, coverage: float) -> RowWarning:
    if calibration is None:
        detail = "the model was trained by a version without intervals: train it again"
    else:
        what = "scored rows" if calibration.groups is None else "scored groups"
        detail = (
            f"an interval that holds {100 * coverage:g} % of the truths needs "
            f"{calibration.units_needed(coverage)} {what}, and the model has "
            f"{calibration.units} outside of a fold: ask for a smaller coverage"
        )
    return RowWarning("no_interval", None, detail)


def prediction_bounded(lowest: float, highest: float) -> RowWarning:
    return RowWarning(
        "prediction_bounded",
        None,
        "the networks went beyond the targets of training and were cut off between "
        f"{rounded_text(lowest, 6)} and {rounded_text(highest, 6)}: check the row, and do not rely "
        "on this prediction; its interval spans that whole range",
    )


def outlier(names: list[str]) -> RowWarning:
    return RowWarning(
        "outlier",
        names[0] if names else None,
        "the row is unlike those of training, mostly in " + ", ".join(map(repr, names)),
    )
