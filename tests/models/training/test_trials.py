"""Trials that train as one population fare as they would alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from houses import Case, house_frame, lay, trainer_of
from torch import Tensor

from models.members import Member, members_of, population_key
from models.spec import TrainingSpec
from models.training.progress import Course, MemberEpoch, Monitor

# What the members of one population may differ in.
CHANGES: list[dict[str, Any]] = [
    {"dropout": 0.0, "optimizer": {"learning_rate": 0.1}},
    {"dropout": 0.5, "weight_decay": 0.3, "optimizer": {"learning_rate": 0.02}},
    {"dropout": 0.2, "optimizer": {"learning_rate": 0.1, "gradient_clip": 0.1}},
]
BASE: dict[str, Any] = {
    "k_folds": 3,
    "batch_size": 16,
    "max_epochs": 8,
    "early_stopping": {"patience": 1, "fraction": 0.2},
    "preprocessing": {"target_transform": "log"},
    "loss": "squared_error",
}
# Architecture to the initialisations of its trials.
ARCHITECTURES: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "linear": ({"type": "linear"}, ("normal", "uniform", "xavier_normal")),
    "mlp": (
        {"type": "mlp", "hidden_sizes": [7, 3], "linear_path": True},
        ("default", "xavier_uniform", "xavier_uniform"),
    ),
    "resnet": (
        {"type": "resnet", "blocks": 1, "width": 4, "block_width": 5, "normalization": "layer"},
        ("default", "kaiming_normal", "default"),
    ),
    "realmlp": (
        {
            "type": "realmlp",
            "hidden_sizes": [5],
            "numeric_embedding": {"type": "periodic", "frequencies": 3, "size": 3},
        },
        ("default", "default", "default"),
    ),
    "tabm": (
        {"type": "tabm", "hidden_sizes": [5], "ensemble_size": 3},
        ("default", "lecun_normal", "default"),
    ),
}


class Recorder(Monitor):
    def __init__(self) -> None:
        self.losses: list[MemberEpoch] = []

    def epoch_ended(self, losses: list[MemberEpoch], active: list[Member]) -> None:  # noqa: ARG002
        self.losses += losses


@dataclass(frozen=True)
class Fared:
    """One trial: losses in the order of (fold, replica, epoch), weights with its members first."""

    losses: list[float]
    rates: list[float]
    weights: dict[str, Tensor]
    courses: list[Course]


def trials_of(architecture: str, **spec: Any) -> list[TrainingSpec]:
    described, initializations = ARCHITECTURES[architecture]
    return [
        TrainingSpec.model_validate(
            BASE
            | {"target": "price", "architecture": described | {"initialization": initialization}}
            | change
            | spec
        )
        for change, initialization in zip(CHANGES, initializations, strict=True)
    ]


def fared(case: Case, trials: list[TrainingSpec], dtype: torch.dtype) -> list[Fared]:
    """How every trial of one population fared."""
    trainer, recorder = trainer_of(case, dtype, trials), Recorder()
    trained = trainer.train(recorder)
    found = []
    for trial in range(len(trials)):
        places = [p for p, member in enumerate(trainer.members) if member.trial == trial]
        rows = [row for row in recorder.losses if row.member.trial == trial]
        rows.sort(key=lambda row: (row.member.fold, row.member.replica, row.epoch))
        found.append(
            Fared(
                losses=[
                    loss
                    for row in rows
                    for loss in (row.train_loss, row.watched_loss, row.validation_loss)
                    if loss is not None
                ],
                rates=[row.learning_rate for row in rows],
                weights={
                    name: value[places] for name, value in trained.network.state_dict().items()
                },
                courses=[trained.courses[place] for place in places],
            )
        )
    return found


def assert_alike(found: Fared, expected: Fared, tolerance: float) -> None:
    assert found.losses == pytest.approx(expected.losses, rel=tolerance)
    assert found.rates == expected.rates
    for name, weight in expected.weights.items():
        torch.testing.assert_close(found.weights[name], weight, rtol=tolerance, atol=tolerance)
    for one, other in zip(found.courses, expected.courses, strict=True):
        assert (one.epochs, one.best_epoch) == (other.epochs, other.best_epoch)
        assert one.stopped_by == other.stopped_by


def case_of(folder: Path, trials: list[TrainingSpec], rows: int = 70) -> Case:
    return lay(folder, house_frame(rows), **trials[0].model_dump(exclude_unset=True))


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_trial_fares_as_it_would_alone(tmp_path: Path, architecture: str, replicas: int) -> None:
    """Among others that stop at other times, too."""
    trials = trials_of(architecture, members_per_fold=replicas)
    case = case_of(tmp_path, trials)
    together = fared(case, trials, torch.float64)
    assert len({course.epochs for one in together for course in one.courses}) > 1
    for trial, in_company in zip(trials, together, strict=True):
        (alone,) = fared(case, [trial], torch.float64)
        assert_alike(in_company, alone, 1e-9)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_trial_fares_as_it_would_alone_in_float32(tmp_path: Path, architecture: str) -> None:
    trials = trials_of(architecture, max_epochs=1)
    case = case_of(tmp_path, trials)
    together = fared(case, trials, torch.float32)
    for trial, in_company in zip(trials, together, strict=True):
        (alone,) = fared(case, [trial], torch.float32)
        assert_alike(in_company, alone, 1e-4)


def test_trials_do_differ(tmp_path: Path) -> None:
    """The counterpart, without which the tests above could not fail."""
    trials = trials_of("mlp")
    first, second, third = fared(case_of(tmp_path, trials), trials, torch.float64)
    assert first.losses[0] != pytest.approx(second.losses[0], rel=1e-3)
    assert second.losses[0] != pytest.approx(third.losses[0], rel=1e-3)
    assert first.losses[0] != pytest.approx(third.losses[0], rel=1e-3)


def test_trials_of_one_initialisation_start_alike(tmp_path: Path) -> None:
    trials = trials_of("mlp")
    trainer = trainer_of(case_of(tmp_path, trials), trials=trials)
    weights = trainer.network.linear_layers()[0].weight
    for place, member in enumerate(trainer.members):
        other = next(
            p for p, m in enumerate(trainer.members) if m.fold == member.fold and m.trial == 2
        )
        assert torch.equal(weights[place], weights[other]) == (member.trial != 0)


def test_the_order_of_members() -> None:
    """Fold after fold, in a fold trial after trial, in a trial replica after replica."""
    trials = trials_of("mlp", members_per_fold=2)
    places = [(m.fold, m.trial, m.replica) for m in members_of(trials)]
    assert places == [(f, t, r) for f in range(3) for t in range(3) for r in range(2)]
    assert all(m.spec is trials[m.trial] for m in members_of(trials))


def test_specs_that_can_train_together() -> None:
    for architecture in ARCHITECTURES:
        assert len({population_key(trial) for trial in trials_of(architecture)}) == 1
    for architecture in ({"type": "perceptron"}, {"type": "realmlp"}):  # of one initialisation
        trials = [
            TrainingSpec.model_validate(
                {"target": "price", "architecture": architecture, "weight_decay": decay}
            )
            for decay in (0.0, 0.1)
        ]
        assert len({population_key(trial) for trial in trials}) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": {"type": "mlp", "hidden_sizes": [7]}},
        {"architecture": {"type": "mlp", "hidden_sizes": [7, 3], "activation": "relu"}},
        {"architecture": {"type": "mlp", "hidden_sizes": [7, 3], "normalization": "batch"}},
        {"architecture": {"type": "linear"}},
        {"batch_size": 8},
        {"max_epochs": 9},
        {"early_stopping": None},
        {"early_stopping": {"patience": 2, "fraction": 0.2}},
        {"k_folds": 4},
        {"folds": {"type": "stratified"}},
        {"holdout": {"fraction": 0.1}},
        {"features": {"exclude": ["area"]}},
        {"preprocessing": {"target_transform": "none"}},
        {"loss": "huber"},
        {"label_smoothing": 0.1},
        {"class_weights": "balanced"},
        {"rare_classes": "merge"},
        {"decision": {"threshold": 0.2}},
        {"task": "classification"},
        {"seed": 1},
        {"members_per_fold": 2},
        {"optimizer": {"name": "sgd"}},
        {"optimizer": {"schedule": "cosine"}},
        {"optimizer": {"momentum": 0.5}},
        {"target": "rent"},
    ],
)
def test_specs_that_cannot_train_together(change: dict[str, Any]) -> None:
    base = BASE | {"target": "price", "architecture": {"type": "mlp", "hidden_sizes": [7, 3]}}
    one, other = (TrainingSpec.model_validate(spec) for spec in (base, base | change))
    assert population_key(one) != population_key(other)
