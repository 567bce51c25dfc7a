"""What the layers of all members did, condensed to a number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from models.epochs import LayerEpoch
from models.training.progress import Course


def weakest_gradient(courses: Sequence[Course]) -> tuple[str, float, float] | None:
    """The layer with the smallest gradient of the second epoch, its norm, and the largest norm of a
    layer: medians over the members. In the first, an output that starts at 0 passes none."""
    by_layer = _by_layer(courses, "gradient_norm", "next_layers")
    if len(by_layer) < 3:  # two layers lose nothing on the way
        return None
    name, smallest = min(by_layer, key=lambda layer: layer[1])
    largest = max(size for _, size in by_layer)
    return name, smallest, largest


def most_alike(courses: Sequence[Course]) -> tuple[str, float] | None:
    """The layer whose units differ least at the end, and by how much."""
    return min(_by_layer(courses, "unlikeness"), key=lambda layer: layer[1], default=None)


def typical_step(courses: Sequence[Course], *, first: bool) -> float | None:
    """The median over the layers of a step's share of the weights, in the first epoch or the
    last."""
    ratios = [
        ratio
        for _, ratio in _by_layer(courses, "update_ratio", "layers" if first else "last_layers")
    ]
    return float(np.median(ratios)) if ratios else None


def largest(courses: Sequence[Course], figure: str) -> tuple[str, float] | None:
    """The layer with the largest figure at the end."""
    return max(_by_layer(courses, figure), key=lambda layer: layer[1], default=None)


def share(courses: Sequence[Course], figure: str) -> float | None:
    """The mean of a share of all hidden units, `dead_units` or `saturated_units`."""
    known = [value for course in courses if (value := getattr(course, figure)) is not None]
    finite = [value for value in known if math.isfinite(value)]
    return float(np.mean(finite)) if finite else None


def shrinkage(courses: Sequence[Course]) -> float | None:
    """By what the norm of the weights changed from the end of the first epoch to the last."""
    first = sum(norm for _, norm in _by_layer(courses, "weight_norm", "layers"))
    last = sum(norm for _, norm in _by_layer(courses, "weight_norm"))
    return last / first if first > 0 else None


def _by_layer(
    courses: Sequence[Course], figure: str, when: str = "last_layers"
) -> list[tuple[str, float]]:
    """Medians over the members, by layer, where they are known."""
    known = [table for course in courses if (table := getattr(course, when))]
    if not known or any(len(table) != len(known[0]) for table in known):  # a blend of unlike ones
        return []
    return list(_medians(known, figure))


def _medians(tables: Sequence[list[LayerEpoch]], figure: str) -> Iterator[tuple[str, float]]:
    for same in zip(*tables, strict=True):
        values = [value for layer in same if (value := layer[figure]) is not None]
        if values:
            yield same[0]["name"], float(np.median(values))
