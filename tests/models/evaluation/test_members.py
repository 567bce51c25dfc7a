"""Scores of folds with several members each."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from houses import Case, house_frame, lay, score, train

from models.training.engine import TrainedPopulation
from models.training.progress import Course

FOLDS, REPLICAS = 3, 2


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return lay(
        tmp_path_factory.mktemp("members"),
        house_frame(),
        architecture={"type": "mlp", "hidden_sizes": [4]},
        k_folds=FOLDS,
        members_per_fold=REPLICAS,
        max_epochs=3,
        optimizer={"learning_rate": 0.005},
    )


@pytest.fixture(scope="module")
def trained(case: Case) -> TrainedPopulation:
    return train(case)


def with_courses(trained: TrainedPopulation, **changes: dict[str, Any]) -> TrainedPopulation:
    """`changes` by the member's place, for example _3={"stopped_by": "non_finite"}."""
    courses = [
        dataclasses.replace(course, **changes.get(f"_{place}", {}))
        for place, course in enumerate(trained.courses)
    ]
    return dataclasses.replace(trained, courses=courses)


def test_a_fold_is_scored_by_the_mean_of_its_members(
    case: Case, trained: TrainedPopulation
) -> None:
    scores = score(case, trained)
    inputs = trained.encoder(
        torch.from_numpy(case.design.numbers)[None], torch.from_numpy(case.design.codes)[None]
    )
    for fold, rows in enumerate(case.folds):
        own = [fold * REPLICAS + replica for replica in range(REPLICAS)]
        with torch.no_grad():
            shared = inputs[[fold]].expand(FOLDS * REPLICAS, -1, -1)
            outputs = trained.network(shared)[own, :, 0, 0]
        prices = trained.target.restore(outputs[:, None].expand(-1, FOLDS, -1))[:, fold]
        expected = prices.mean(0).numpy()[rows.validation]
        np.testing.assert_allclose(scores.out_of_fold[rows.validation], expected, rtol=1e-6)


def test_the_summary_of_a_fold_covers_its_members(case: Case, trained: TrainedPopulation) -> None:
    courses: list[Course] = with_courses(
        trained,
        _2={"epochs": 7, "best_epoch": 4, "stopped_by": "early_stopping"},
        _3={"epochs": 6, "best_epoch": 5, "stopped_by": "early_stopping"},
    ).courses
    summary = score(case, dataclasses.replace(trained, courses=courses)).folds[1]
    assert summary["epochs"] == 7
    assert summary["best_epoch"] == 5
    assert summary["stopped_by"] == "early_stopping"


def test_a_finding_names_the_fold_and_not_the_member(
    case: Case, trained: TrainedPopulation
) -> None:
    """Member 3 is the second of fold 1."""
    courses = with_courses(trained, _3={"stopped_by": "non_finite"})
    (finding,) = (
        finding
        for finding in score(case, courses).diagnosis
        if finding["code"] == "numerical_trouble"
    )
    assert "fold 1 " in finding["evidence"]


def test_a_finding_counts_the_networks_of_all_folds(case: Case, trained: TrainedPopulation) -> None:
    falling = {"best_epoch": 3, "best_loss": 0.2, "earlier_best": 0.3}
    late = {f"_{place}": falling for place in range(FOLDS * REPLICAS)}
    (finding,) = (
        finding
        for finding in score(case, with_courses(trained, **late)).diagnosis
        if finding["code"] == "stopped_too_soon"
    )
    assert "6 of 6 networks" in finding["evidence"]
