"""Inputs from other rows' targets, learnt once for all architectures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from models.data.design import Design
from models.data.folds import FoldRows
from models.networks.extras import Extras
from models.networks.population import take
from models.objectives import objective_of
from models.objectives.trained import learning_of
from models.spec import Comparables, TrainingSpec


class KnownExtras:
    """The extras of one table and its folds. Specs whose features agree share theirs."""

    def __init__(self, design: Design, folds: Sequence[FoldRows]) -> None:
        self._design = design
        self._known = [fold.known for fold in folds]
        self._learnt: dict[str, Extras | None] = {}

    def of(self, spec: TrainingSpec) -> Extras | None:
        """None if a resolved spec has none, or its architecture takes none."""
        features = spec.features
        if not spec.architecture.takes_extras or not (features.comparables or features.group_means):
            return None
        key = features.model_dump_json()
        if key not in self._learnt:
            self._learnt[key] = self._learn(spec)
        return self._learnt[key]

    def _learn(self, spec: TrainingSpec) -> Extras | None:
        given = spec.features.comparables

        def wanted(space: Comparables) -> Literal["auto"] | bool:
            return "auto" if given == "auto" else given is not None and space in given

        return Extras.learn(
            self._design,
            self._known,
            self._facets(spec),
            location=wanted("location"),
            attributes=wanted("attributes"),
            group_means=spec.features.group_means,
            seed=spec.seed,
        )

    def _facets(self, spec: TrainingSpec) -> list[NDArray[np.float64]]:
        """(n, A) of each fold's training rows: standardised numbers, or whether they have a
        class."""
        actual = [self._design.target[rows] for rows in self._known]
        target = learning_of(spec).target(actual, self._design.levels, spec)
        found = []
        for fold, own in enumerate(actual):
            alone = take(target, torch.tensor([fold]))
            learnt = alone.standardize(torch.from_numpy(own)[None])[0].numpy()
            facets = objective_of(spec).facets(learnt)
            spread = facets.std(0)
            found.append((facets - facets.mean(0)) / np.where(spread > 0, spread, 1.0))
        return found
