"""Sets of classes that contain the truth with a requested frequency, with numpy only.

Adaptive prediction sets of Romano, Sesia and Candès 2020, arXiv 2006.02544: the score of a class is
the probability of all classes above it plus a random share of its own. A set has the classes whose
score is within the bound of the true classes' scores. The random share is a function of the row's
cells, so that an answer repeats.

A set may be empty: if the model is nearly always right, sets with one class each would contain more
truths than requested.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.objectives.conformal import bound

# Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators": the constants of its
# mixing function (variant 13).
INCREMENT, FIRST, SECOND = (
    np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def chance(numbers: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(N,) in (0, 1), uniform over different rows: numbers (N, D) float64, codes (N, C) int64."""
    cells = np.where(np.isnan(numbers), np.nan, numbers + 0.0)  # one NaN, and no −0
    words = np.concatenate([cells.view(np.uint64), codes.astype(np.uint64)], axis=1)
    with np.errstate(over="ignore"):
        # Each column's own increment, so that equal cells in two columns do not look alike.
        mixed = _mixed(words + INCREMENT * np.arange(1, words.shape[1] + 1, dtype=np.uint64))
        state = _mixed(mixed.sum(axis=1, dtype=np.uint64))
    return ((state >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52


def _mixed(words: np.ndarray) -> np.ndarray:
    words = (words ^ (words >> np.uint64(30))) * FIRST
    words = (words ^ (words >> np.uint64(27))) * SECOND
    mixed: np.ndarray = words ^ (words >> np.uint64(31))
    return mixed


def scores(probabilities: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(N, C) of each class, from probabilities (N, C) and random shares (N,)."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, 1)
    above = np.cumsum(ranked, axis=1) - ranked
    found = np.empty_like(probabilities)
    np.put_along_axis(found, order, above + shares[:, None] * ranked, 1)
    return found


def bounds(
    known: dict[str, Any], levels: Sequence[str], coverage: float, *, by_class: bool
) -> np.ndarray:
    """(C,) the largest score with which each class is in a set.

    known : a calibration (`models.objectives.conformal`), and that of each class in "by_class"
    """
    if by_class:
        return np.array([bound(known["by_class"][level], coverage) for level in levels])
    return np.full(len(levels), bound(known, coverage))


def members(probabilities: np.ndarray, shares: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """(N, C) which classes are in each row's set."""
    inside: np.ndarray = scores(probabilities, shares) <= bounds
    return inside


def listed(row: np.ndarray, inside: np.ndarray, levels: Sequence[str]) -> list[str]:
    """The classes of one row's set, the most probable first."""
    places = np.flatnonzero(inside)
    return [levels[place] for place in places[np.argsort(-row[places], kind="stable")]]


def joined(levels: Sequence[str]) -> str:
    """A set as one text: a|b, with a backslash before each bar in a class."""
    return "|".join(level.replace("\\", "\\\\").replace("|", "\\|") for level in levels)


def decided(
    probabilities: np.ndarray, positive: int | None, threshold: float | np.ndarray
) -> np.ndarray:
    """(N,) the indices of the predicted classes: of two, the positive one from the threshold on."""
    places: np.ndarray = probabilities.argmax(1)
    if positive is not None:
        reached = probabilities[:, positive] >= threshold
        places = np.where(reached, positive, 1 - positive)
    return places
