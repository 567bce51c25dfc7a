"""How much a model leans on each column: permutation importance (Breiman 2001, Random Forests).

A column's cells are shuffled among rows that the model did not see; its importance is by how much
the error grows. They are shuffled over all folds together: within a fold, a column that is constant
there, as the column of `group` or `time` folds may be, would seem to matter to no one. Columns that
say the same share theirs: shuffling one leaves the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.design import Design
from models.export.served import CHUNK_ROWS, ServedModel, predict
from models.objectives.base import Vector
from models.objectives.metrics import jackknife, units
from models.objectives.trained import learning_of
from models.planning.estimate import importance_rows
from models.randomness import stream_seed
from models.spec import TrainingSpec

Rows = NDArray[np.int64]


def permutation_importance(
    served: ServedModel, spec: TrainingSpec, design: Design, folds: list[Rows]
) -> list[dict[str, Any]]:
    """Each column's share by which the error grows, and its standard error; the largest first.

    Errors are those of the model of a row's own fold, on the scale that is learnt, over a sample of
    the rows.

    Parameters
    ----------
    folds : the scored rows of each of the model's folds, places in the design
    """
    chance = np.random.default_rng(stream_seed(spec.seed, "importance"))
    columns = [*design.numeric, *(known.name for known in design.categorical)]
    total = sum(map(len, folds))
    share = importance_rows(total, len(columns)) / total
    samples = [
        chance.choice(scored, max(1, round(share * len(scored))), replace=False) for scored in folds
    ]
    pooled = np.concatenate(samples)
    # (C, n): the row whose cell of the column each row gets.
    donors = np.stack([chance.permutation(pooled) for _ in columns])
    ends = np.cumsum([len(rows) for rows in samples])[:-1]
    parts = [
        _row_errors(served.fold(place), design, rows, given)
        for place, (rows, given) in enumerate(
            zip(samples, np.split(donors, ends, axis=1), strict=True)
        )
    ]
    before, *after = np.concatenate(parts, axis=1)
    column = None if design.fold_column is None else design.fold_column[pooled]
    apart = units(spec, column, len(pooled))
    if before.sum() == 0:
        return [{"column": name, "error_growth": 0.0, "standard_error": None} for name in columns]
    found = []
    typical = learning_of(spec).typical_error

    def grown(means: Vector) -> Vector:
        growth: Vector = typical(means[..., 0] / means[..., 1]) - 1
        return growth

    for name, errors in zip(columns, after, strict=True):
        terms = np.stack([errors, before], axis=1)
        growth = float(grown(terms.mean(axis=0)))
        error = jackknife(terms, grown, apart)
        found.append({"column": name, "error_growth": growth, "standard_error": error})
    return sorted(found, key=lambda row: -row["error_growth"])


def _row_errors(member: ServedModel, design: Design, rows: Rows, donors: Rows) -> Vector:
    """(1 + C, n) errors of rows (n,) of a fold: as they are, and with each column's cells taken
    from its donors (C, n)."""
    numeric, count = len(design.numeric), len(donors)
    together = max(1, CHUNK_ROWS // len(rows))  # columns whose rows fill a chunk
    errors = []
    for first in range(-1, count, together):
        block = range(first, min(first + together, count))
        numbers = np.tile(design.numbers[rows], (len(block), 1, 1))
        codes = np.tile(design.codes[rows], (len(block), 1, 1))
        for copy, column in enumerate(block):
            if column >= numeric:
                codes[copy, :, column - numeric] = design.codes[donors[column], column - numeric]
            elif column >= 0:
                numbers[copy, :, column] = design.numbers[donors[column], column]
        cells = len(block) * len(rows)
        value = predict(member, numbers.reshape(cells, -1), codes.reshape(cells, -1)).values
        truths = np.tile(design.target[rows], len(block))
        errors.append(member.target.row_errors(truths, value).reshape(len(block), -1))
    return np.concatenate(errors)
