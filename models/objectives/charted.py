"""What an objective draws charts of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.objectives.base import Codes, Vector
from models.spec import TrainingSpec
from models.tables.wording import moment_text

# Points of one drawing. More would be one blot, and a large file.
MOST_POINTS = 800
# Rows with the largest errors that a drawing has in any case.
WORST = 20


@dataclass(frozen=True)
class Cells:
    """A column of n rows: (n,) numbers, moments in seconds since 1970, or levels as objects."""

    name: str
    kind: Literal["number", "moment", "level"]
    values: NDArray[Any]

    def said(self, places: Codes) -> list[Any]:
        """Numbers, or dates and levels in text; None for a missing cell."""
        cells: list[Any] = self.values[places].tolist()
        if self.kind == "level":
            return cells
        known = [None if cell != cell else cell for cell in cells]
        if self.kind == "number":
            return known
        return [None if cell is None else moment_text(cell) for cell in known]


@dataclass(frozen=True)
class Charted:
    """n rows scored out of fold.

    levels : the classes of the target; empty for a number
    actual : (n,) as the objective reads it
    values : (n, …) predictions
    columns : (n,) each, those of the table of out-of-fold predictions
    errors : (n,) on the learnt scale
    rows : (n,) their indices in the table, from 0
    important : the columns that matter most, the first most of all
    places : (n, 2) latitude and longitude; None: unknown
    result : the job's result
    """

    spec: TrainingSpec
    levels: tuple[str, ...]
    actual: Vector
    values: Vector
    columns: Mapping[str, NDArray[Any]]
    errors: Vector
    rows: Codes
    important: Sequence[Cells]
    places: Vector | None
    result: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def worst(self) -> Codes:
        """Places of the rows with the largest errors, the worst first."""
        return np.argsort(-self.errors, kind="stable")[:WORST]

    @cached_property
    def sampled(self) -> Codes:
        """Places of rows to draw: the worst, and others at random."""
        others = np.setdiff1d(np.arange(len(self)), self.worst)
        left = min(len(others), MOST_POINTS - len(self.worst))
        chance = np.random.default_rng(self.spec.seed)
        return np.sort(np.append(self.worst, chance.choice(others, left, replace=False)))

    @property
    def sample_words(self) -> str:
        """What a caption says of rows that are not drawn."""
        drawn = len(self.sampled)
        if drawn == len(self):
            return f"All {len(self):,} rows."
        return f"{drawn:,} of {len(self):,} rows, the {len(self.worst)} worst among them."
