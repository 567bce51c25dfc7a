"""The answers of an exported model that predicts a class, with numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.objectives.classification.sets import bounds, chance, joined, listed, members


def answer(
    found: dict[str, np.ndarray],
    numbers: np.ndarray,
    codes: np.ndarray,
    manifest: dict[str, Any],
    coverage: float,
) -> tuple[dict[str, list[Any]], list[str]]:
    """Columns of predicted classes, their probabilities and sets that contain a share `coverage` of
    the truths, and notes on them. `found`: the model's outputs for rows with numbers (N, D) and
    codes (N, C)."""
    classes = manifest["classes"]
    levels, probabilities = classes["levels"], found["probabilities"]
    largest = bounds(classes["calibration"], levels, coverage, by_class=False)
    inside = members(probabilities, chance(numbers, codes), largest)
    sets = [listed(*row, levels) for row in zip(probabilities, inside, strict=True)]
    labels = found["label"].tolist()
    places = {level: place for place, level in enumerate(levels)}
    own = [row[places[label]] for row, label in zip(probabilities, labels, strict=True)]
    columns: dict[str, list[Any]] = {
        "prediction": labels,
        "probability": [float(value) for value in own],
        "set": [joined(one) for one in sets],
    }
    if not np.isfinite(largest).all():
        return columns, ["the model has too few rows for sets with this coverage"]
    return columns, []
