"""Small blends, and the raw outputs of their members."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from houses import Case, house_frame, lay

from models.export.served import ServedModel, raw_outputs
from models.training.engine import TrainedPopulation
from models.training.progress import Monitor
from models.training.runs import train_many

MLP: dict[str, Any] = {
    "architecture": {"type": "mlp", "hidden_sizes": [8]},
    "optimizer": {"learning_rate": 0.02},
    "batch_size": 16,
    "max_epochs": 3,
}
TREES: dict[str, Any] = {
    "architecture": {
        "type": "boosted_trees",
        "iterations": 20,
        "leaf_rows": 5,
        "column_share": 1.0,
        "row_share": 1.0,
    }
}
# About equally good, and the last gets a share below the least in one fold.
THREE: list[dict[str, Any]] = [
    MLP | {"members_per_fold": 2, "max_epochs": 12},
    {
        "architecture": {
            "type": "boosted_trees",
            "iterations": 60,
            "leaf_rows": 5,
            "learning_rate": 0.1,
        }
    },
    MLP
    | {
        "architecture": {"type": "mlp", "hidden_sizes": [8], "activation": "relu"},
        "seed": 1,
        "max_epochs": 12,
    },
]


def laid(folder: Path, rows: int = 90, **spec: Any) -> Case:
    given = {"members": THREE, "k_folds": 3, "early_stopping": None, **spec}
    return lay(folder, house_frame(rows), **given)


def trained_of(case: Case) -> list[TrainedPopulation]:
    return train_many(
        case.spec.trials(), case.design, case.folds, device=torch.device("cpu"), monitor=Monitor()
    )


def raw_of(case: Case, models: Sequence[ServedModel]) -> list[np.ndarray]:
    """(n, P) of each fold's scored rows: the mean raw output of its members of each model."""
    found = []
    for place, fold in enumerate(case.folds):
        rows = case.design.numbers[fold.validation], case.design.codes[fold.validation]
        each = [raw_outputs(model.fold(place), *rows)[0].double().mean(0) for model in models]
        found.append(torch.cat(each, dim=1).numpy())
    return found


def standard_of(case: Case, model: ServedModel) -> list[np.ndarray]:
    """(n,) of each fold's scored rows, as its members learn them."""
    return [
        model.fold(place)
        .target.standardize(torch.from_numpy(case.design.target[fold.validation])[None])[0]
        .numpy()
        for place, fold in enumerate(case.folds)
    ]


def model_scale(model: ServedModel, place: int) -> float:
    scale: torch.Tensor = model.fold(place).target.get_buffer("scale")
    return scale[0].item()
