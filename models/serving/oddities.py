"""Warnings about rows to predict."""

from __future__ import annotations

import math
from functools import lru_cache

from models.serving.manifest import CategoricalFeature, NumericFeature
from models.tables.faults import RowWarning, WarningCode, quoted
from models.tables.wording import moment_text, number_text

REFUSED: tuple[WarningCode, ...] = ("unknown_category", "not_a_number", "missing_value")

SHARED = 4096  # columns whose warnings are cached: an empty row has one for each


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
            f"({100 * feature.shares[-1]:.1f} % of its rows had another one)"
        )
    return RowWarning(
        "unknown_category",
        feature.name,
        f"{quoted(level)} is not among {known}: the network does not know it",
    )


def out_of_range(feature: NumericFeature, value: float) -> RowWarning:
    shown = moment_text if feature.kind == "datetime" else number_text
    low, high = (math.nan if bound is None else bound for bound in (feature.low, feature.high))
    return RowWarning(
        "out_of_range",
        feature.name,
        f"'{feature.name}' is {shown(value)}, outside {shown(low)} to {shown(high)} in training",
    )


def outlier(names: list[str]) -> RowWarning:
    return RowWarning(
        "outlier",
        names[0] if names else None,
        "the row is unlike the training rows, mostly in " + ", ".join(map(repr, names)),
    )
