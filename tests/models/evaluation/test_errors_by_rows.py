"""The points of a learning curve, and what they are when something failed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blends import MLP, TREES
from classes import class_frame
from houses import Case, house_frame, lay

from models.data.thinning import thin
from models.evaluation.blend import blend
from models.evaluation.errors_by_rows import errors_by_rows
from models.evaluation.scores import refine
from models.training.engine import TrainedPopulation
from models.training.progress import Course, Monitor
from models.training.runs import train_many

NETWORK: dict[str, Any] = {
    "architecture": {"type": "mlp", "hidden_sizes": [8]},
    "optimizer": {"learning_rate": 0.01},
    "max_epochs": 20,
    "k_folds": 3,
    "preprocessing": {"target_transform": "log"},
}


def curve_of(case: Case, on_fewer: Sequence[TrainedPopulation] | None = None) -> dict[str, Any]:
    thinned = thin(case.spec, case.design, case.folds)
    trials = case.spec.trials()
    populations = train_many(
        trials,
        case.design,
        case.folds,
        device=torch.device("cpu"),
        monitor=Monitor(),
        thinned=thinned,
    )
    served, _ = blend(case.spec, populations[: len(trials)], case.design, case.folds)
    prediction = refine(served, case.spec, case.design, case.folds).prediction
    return errors_by_rows(
        served,
        prediction,
        case.spec,
        case.design,
        [case.folds, *thinned],
        populations[len(trials) :] if on_fewer is None else on_fewer,
    )


def test_points_are_the_errors_of_models_trained_on_so_many_rows(tmp_path: Path) -> None:
    """By training each layout by itself."""
    case = lay(tmp_path, house_frame(160), **NETWORK, early_stopping=None)
    curve = curve_of(case)
    layouts = [case.folds, *thin(case.spec, case.design, case.folds)]
    for point, folds in zip(curve["points"], layouts[::-1], strict=True):
        trained = train_many(
            case.spec.trials(), case.design, folds, device=torch.device("cpu"), monitor=Monitor()
        )
        served, _ = blend(case.spec, trained, case.design, folds)
        found = refine(served, case.spec, case.design, folds).prediction
        errors = (np.log(found) - np.log(case.design.target)) ** 2
        assert point["error"] == pytest.approx(np.sqrt(errors.mean()), rel=1e-4)
        assert point["rows"] == np.mean([len(fold.train) for fold in folds])
        by_row = np.std(errors, ddof=1) / np.sqrt(len(errors)) / 2 / point["error"]
        assert point["standard_error"] == pytest.approx(by_row, rel=0.05)
    errors_found = [point["error"] for point in curve["points"]]
    assert errors_found[0] > errors_found[-1]
    forecast = curve["forecast"]
    assert forecast["rows"] == 2 * curve["points"][-1]["rows"]
    assert forecast["low"] < forecast["error"] < forecast["high"]
    assert curve["skipped"] is None


@pytest.mark.parametrize("target", ["state", "let"])
def test_blends_and_classes_have_a_curve(tmp_path: Path, target: str) -> None:
    frame = class_frame(200).drop(columns=({"state", "let"} - {target}).pop())
    curve = curve_of(lay(tmp_path, frame, target=target, members=[MLP, TREES], k_folds=3))
    assert [round(point["rows"]) for point in curve["points"]] == pytest.approx(
        [17, 33, 67, 133], abs=2
    )
    assert all(point["standard_error"] > 0 for point in curve["points"])


def test_what_learned_nothing_leaves_the_curve_out(tmp_path: Path) -> None:
    case = lay(tmp_path, house_frame(120), **NETWORK)
    thinned = thin(case.spec, case.design, case.folds)
    trained = [
        train_many(case.spec.trials(), case.design, folds, device=torch.device("cpu"), monitor=m)[0]
        for folds, m in zip(thinned, [Monitor()] * 3, strict=True)
    ]
    trained[1].courses[:] = [Course() for _ in trained[1].courses]
    curve = curve_of(case, trained)
    assert curve["skipped"] == "nothing was learned from 20 rows"
    assert curve["points"] == []
    trained[0].courses[0] = Course()
    assert curve_of(case, trained)["skipped"] == "not all folds learned something from 40 rows"
