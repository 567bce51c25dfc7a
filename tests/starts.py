"""Runs that start from the networks of earlier ones, without files of graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from houses import Case, lay

from models.artifacts import EarlierModel
from models.data.folds import FoldRows, roles_of, split_rows
from models.data.roles import write_roles
from models.evaluation.blend import blend, served_members
from models.export.served import ServedModel, predict
from models.export.weights import weights_file
from models.planning.review import SpecWarning
from models.planning.review.started import find_roles, start_warnings
from models.training.earlier import read_networks
from models.training.engine import TrainedPopulation
from models.training.progress import Monitor
from models.training.runs import train_many


@dataclass(frozen=True)
class Trained:
    """A case and what its folds learnt."""

    case: Case
    folds: list[FoldRows]
    populations: list[TrainedPopulation]
    served: ServedModel
    warnings: list[SpecWarning]
    earlier: EarlierModel  # this one, to start from

    @property
    def out_of_fold(self) -> np.ndarray:
        """(n,) of the design's rows, on the target's own scale; NaN where no fold scores."""
        design = self.case.design
        found = np.full(len(design), np.nan)
        for place, number in enumerate(self.served.folds):
            rows = self.folds[number].validation
            own = self.served.fold(place)
            found[rows] = predict(own, design.numbers[rows], design.codes[rows]).values
        return found

    @property
    def error(self) -> float:
        """Of the logarithms, out of fold."""
        return float(np.sqrt(np.nanmean(np.log(self.out_of_fold / self.case.design.target) ** 2)))

    @property
    def explained(self) -> float:
        """R² out of fold."""
        actual, found = self.case.design.target, self.out_of_fold
        return float(1 - np.mean((found - actual) ** 2) / np.var(actual))


def train_from(
    folder: Path,
    frame: pd.DataFrame,
    start: Trained | None = None,
    monitor: Monitor | None = None,
    checkpoints: Sequence[bytes] = (),
    **spec: Any,
) -> Trained:
    """Train a spec on a frame, from the networks of `start` if it is given."""
    folder.mkdir(exist_ok=True)
    case = lay(folder, frame, **spec)
    design, trials, warnings, roles = case.design, case.spec.trials(), [], None
    if start is not None:
        found = find_roles(start.earlier, case.parquet)
        roles = found.of[design.rows]
        warnings = start_warnings(
            case.spec, start.earlier, found, design.target, design.fold_column, design.rows
        )
    folds = split_rows(case.spec, design.target, design.fold_column, roles)
    populations = train_many(
        trials,
        design,
        folds,
        device=torch.device("cpu"),
        monitor=monitor or Monitor(),
        checkpoints=checkpoints,
        earlier=() if start is None else read_networks(start.earlier.weights, len(trials)),
    )
    served, blended = blend(case.spec, populations, design, folds)
    files = folder / "weights.safetensors", folder / "roles.parquet"
    files[0].write_bytes(weights_file(served, design, served_members(blended)))
    write_roles(roles_of(folds, design.rows, case.profile.rows), files[1])
    earlier = EarlierModel(
        f"mdl_{folder.name}",
        (*case.spec.features.kinds, case.spec.target),
        all(warning.code != "not_out_of_fold" for warning in warnings),
        *files,
        case.parquet,
    )
    return Trained(case, folds, populations, served, warnings, earlier)
