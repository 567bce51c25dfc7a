"""Learns what makes rows alike: what their cells add to the target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.data.comparables import LARGEST_NUMBER, Groups, KnownRows
from models.data.design import Design, Numbers
from models.objectives import objective_of
from models.objectives.regression.intervals import transformed
from models.randomness import stream_seed
from models.serving.likeness import Likeness
from models.spec import TrainingSpec

# Rows of a larger table that the ridge regression is learnt from.
MOST_ROWS = 10_000
# Classes that it is learnt for, one indicator each.
MOST_CLASSES = 8
# The least that a standard deviation of a number adds, in those of the target: its effect may be
# curved, so that a line does not see it. With 0.1, which networks use among their attributes, the
# mean price of five comparables of the example errs 3 % more; with 0 as much as with this.
LEAST_SHARE = 0.03

NO_GROUPS = Groups([], [], np.empty((0, 0)))


def likeness_of(spec: TrainingSpec, design: Design) -> Likeness:
    """Learn from all rows that the folds saw, or from `MOST_ROWS` of them."""
    rows = np.arange(len(design))
    if len(rows) > MOST_ROWS:
        chance = np.random.default_rng(stream_seed(spec.seed, "likeness"))
        rows = np.sort(chance.choice(rows, MOST_ROWS, replace=False))
    plain = replace(design, coordinates=None)
    known = KnownRows(plain, rows, _standardised(spec, design)[rows], NO_GROUPS, spec.seed, 0)
    learnt = known.learn()
    line = learnt.line[: len(design.numeric)]
    return Likeness(
        fill=learnt.fill.tolist(),
        center=learnt.center.tolist(),
        scale=learnt.scale.tolist(),
        reach=LARGEST_NUMBER,
        factor=np.sqrt((line**2).sum(1) + LEAST_SHARE**2).tolist(),
        contributions=[
            _without_repeats(learnt.contributions[first:end]).tolist()
            for first, end in zip(known.offsets, known.offsets[1:], strict=False)
        ],
    )


def _standardised(spec: TrainingSpec, design: Design) -> Numbers:
    """(n, A) the target as it is learnt, or indicators of classes. They are divided by √A, so that
    a distance is the root of their mean square and does not grow with the number of classes."""
    facets = objective_of(spec).facets(design.target)[:, :MOST_CLASSES]
    learnt = transformed(facets, spec.preprocessing.target_transform or "none")
    largest = np.maximum(np.abs(learnt).max(0), np.finfo(np.float64).tiny)
    relative = learnt / largest  # squares of the largest targets would overflow
    spread = relative.std(0)
    scaled: Numbers = (relative - relative.mean(0)) / np.where(spread > 0, spread, 1.0)
    scaled /= np.sqrt(facets.shape[1])
    return scaled


def _without_repeats(contributions: Numbers) -> Numbers:
    """Without the last levels (L, A) that add the same as unknown ones, which come last."""
    unlike = np.flatnonzero((contributions != contributions[-1]).any(1))
    end = unlike[-1] + 1 if len(unlike) else 0
    return np.append(contributions[:end], contributions[-1:], axis=0)
