"""What a report is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from models.data.design import Design
from models.epochs import FoldEpoch
from models.evaluation.scores import Scores
from models.export.served import ServedModel
from models.objectives.charted import Cells, Charted
from models.spec import TrainingSpec
from models.tables.profile import Profile

# Columns whose errors are drawn.
IMPORTANT = 3


@dataclass(frozen=True)
class Names:
    """What people call it. job: its id; name: what its owner called it; dataset: of the file."""

    job: str
    name: str | None
    dataset: str


@dataclass(frozen=True)
class Run:
    """A run that has a model. epochs: of all attempts."""

    names: Names
    spec: TrainingSpec
    profile: Profile
    design: Design
    served: ServedModel
    scores: Scores
    result: dict[str, Any]
    epochs: Sequence[FoldEpoch]

    @cached_property
    def ranked(self) -> list[str]:
        """Columns, the most important first."""
        return [row["column"] for row in self.scores.importance]

    def cells(self, name: str, rows: np.ndarray) -> Cells:
        """A column of some rows of the design."""
        design = self.design
        if name in design.numeric:
            place = design.numeric.index(name)
            is_moment = design.numeric_kinds[place] == "datetime"
            numbers = design.numbers[rows, place]
            return Cells(name, "moment" if is_moment else "number", numbers)
        [place] = (i for i, known in enumerate(design.categorical) if known.name == name)
        levels = np.array([*design.categorical[place].levels, None], object)  # an unknown one
        return Cells(name, "level", levels[design.codes[rows, place]])

    @cached_property
    def charted(self) -> Charted:
        design, scores = self.design, self.scores
        scored = np.flatnonzero(scores.fold_of >= 0)
        errors = np.empty(len(scored))
        for place, number in enumerate(self.served.folds):
            own = scores.fold_of[scored] == number
            target = self.served.fold(place).target
            rows = scored[own]
            errors[own] = target.row_errors(design.target[rows], scores.out_of_fold[rows])
        return Charted(
            spec=self.spec,
            levels=design.levels,
            actual=design.target[scored],
            values=scores.out_of_fold[scored],
            columns=scores.assessment.columns,
            errors=errors,
            rows=design.rows[scored],
            important=[self.cells(name, scored) for name in self.ranked[:IMPORTANT]],
            places=None
            if design.coordinates is None
            else design.numbers[scored][:, [*design.coordinates]],
            result=self.result,
        )
