"""How much a model leans on each column: permutation importance (Breiman 2001, Random Forests).

A column's cells are shuffled among rows that the model did not see; its importance is by how much
the error grows. Columns that say the same share theirs: shuffling one leaves the other.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.design import Codes, Design, Numbers
from models.randomness import stream_seed
from models.serving.intervals import Vector, transformed
from models.serving.served import ServedModel, predict
from models.spec import TargetTransform, TrainingSpec

# Rows that are priced again for each column, and in all: a table of 2,000 columns must not take
# longer to explain than to train.
MOST_ROWS = 1_000
MOST_PRICED = 100_000

Rows = NDArray[np.int64]


def permutation_importance(
    served: ServedModel, spec: TrainingSpec, design: Design, folds: list[Rows]
) -> list[dict[str, Any]]:
    """Each column's share by which the root mean square error grows, the largest first.

    Errors are those of a fold's own model, on the transformed target's scale, over a sample of the
    rows.

    Parameters
    ----------
    folds : the scored rows of each of the model's folds, places in the design
    """
    chance = np.random.default_rng(stream_seed(spec.seed, "importance"))
    columns = [*design.numeric, *(known.name for known in design.categorical)]
    total = sum(map(len, folds))
    share = min(1.0, MOST_ROWS / total, MOST_PRICED / len(columns) / total)
    transform = spec.preprocessing.target_transform
    assert transform is not None
    before, after = 0.0, np.zeros(len(columns))
    for place, scored in enumerate(folds):
        rows = chance.choice(scored, max(1, round(share * len(scored))), replace=False)
        squares = partial(_squares, served.fold(place), transform, design.target[rows])
        numbers, codes = design.numbers[rows], design.codes[rows]
        before += squares(numbers, codes)
        for column in range(len(columns)):
            order = chance.permutation(len(rows))
            shuffled_numbers, shuffled_codes = numbers.copy(), codes.copy()
            if column < numbers.shape[1]:
                shuffled_numbers[:, column] = numbers[order, column]
            else:
                code = column - numbers.shape[1]
                shuffled_codes[:, code] = codes[order, code]
            after[column] += squares(shuffled_numbers, shuffled_codes)
    growth = np.sqrt(after / before) - 1 if before > 0 else np.zeros(len(columns))
    return [
        {"column": columns[place], "error_growth": float(growth[place])}
        for place in np.argsort(-growth, kind="stable")
    ]


def _squares(
    member: ServedModel,
    transform: TargetTransform,
    actual: Vector,
    numbers: Numbers,
    codes: Codes,
) -> float:
    """The sum of the squared errors, on the transformed scale."""
    value, _ = predict(member, numbers, codes)
    return float(((transformed(value, transform) - transformed(actual, transform)) ** 2).sum())
