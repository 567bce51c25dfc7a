"""A run that is interrupted and restored equals an undisturbed one, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from houses import Case, house_frame, lay, trainer_of
from torch import Tensor

from models.members import Member
from models.objectives import CLASSIFICATION
from models.spec import TrainingSpec
from models.training.checkpoint import pack, unpack
from models.training.engine import TrainedPopulation
from models.training.progress import Course, Interrupted, MemberEpoch, Monitor

# 74 training rows in batches of 16 make an epoch of three blocks.
BLOCK_ROWS = 32
BLOCKS = 3
ADAM = {"name": "adam", "learning_rate": 0.1}
SGD = {"name": "sgd", "learning_rate": 0.1, "gradient_clip": 1.0}


@dataclass(frozen=True)
class Run:
    """What a finished run is compared by; the weights, and the running statistics if any."""

    weights: dict[str, Tensor]
    losses: list[MemberEpoch]
    courses: list[Course]


class Interruptor(Monitor):
    """Lets a number of blocks pass, then stops the run and keeps its checkpoint."""

    def __init__(self, blocks: int | None = None) -> None:
        self.left = blocks
        self.losses: list[MemberEpoch] = []
        self.saved = b""

    def epoch_ended(self, losses: list[MemberEpoch], active: list[Member]) -> None:  # noqa: ARG002
        self.losses += losses

    def should_stop(self) -> bool:
        if self.left is None:
            return False
        self.left -= 1
        return self.left < 0

    def checkpoint(self, make: Callable[[], bytes]) -> None:
        self.saved = make()


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.engine.BLOCK_ROWS", BLOCK_ROWS)


def stopping_case(folder: Path, **spec: Any) -> Case:
    """Dropout, and folds that stop at different epochs."""
    frame = house_frame()
    if spec.get("task") == CLASSIFICATION:
        frame["price"] = pd.qcut(frame["price"], 3, labels=["cheap", "fair", "dear"])
    return lay(
        folder,
        frame,
        **{
            "architecture": {"type": "mlp", "hidden_sizes": [16]},
            "batch_size": 16,
            "dropout": 0.2,
            "early_stopping": {"patience": 2, "fraction": 0.2},
            "max_epochs": 12,
            "optimizer": ADAM,
            **spec,
        },
    )


def finished(trained: TrainedPopulation, losses: list[MemberEpoch]) -> Run:
    return Run(trained.network.state_dict(), losses, trained.courses)


def undisturbed(case: Case, trials: Sequence[TrainingSpec] | None = None) -> Run:
    monitor = Interruptor()
    return finished(trainer_of(case, trials=trials).train(monitor), monitor.losses)


def assert_equal(found: Run, expected: Run) -> None:
    assert found.courses == expected.courses
    assert found.losses == expected.losses
    assert found.weights.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():
        assert torch.equal(found.weights[name], weight), name


BATCH_NORM = {"type": "mlp", "hidden_sizes": [16], "normalization": "batch"}
RESNET = {"type": "resnet", "blocks": 1, "width": 4, "block_width": 6}
TABM = {"type": "tabm", "hidden_sizes": [6], "ensemble_size": 3}
VARIANTS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": ADAM},
    "sgd": {"optimizer": SGD},
    "batch normalisation": {"architecture": BATCH_NORM},
    "resnet": {"architecture": RESNET},
    "tabm": {"architecture": TABM},
    "schedule": {"optimizer": ADAM | {"schedule": "multi_cosine"}},
    "frozen": {"freeze": ["hidden.0"], "weight_decay": 0.1, "optimizer": SGD},
    "two members a fold": {"members_per_fold": 2},
    "classes": {"task": CLASSIFICATION, "class_weights": "balanced", "label_smoothing": 0.1},
    # It counts its mistakes, also from one block of an epoch to the next.
    "perceptron": {
        "task": CLASSIFICATION,
        "architecture": {"type": "perceptron"},
        "optimizer": {"name": "sgd"},
    },
}
# Trials that differ in all that they may differ in, and stop at epochs of their own.
TRIALS: list[dict[str, Any]] = [
    {"dropout": 0.0},
    {"dropout": 0.4, "weight_decay": 0.1, "optimizer": ADAM | {"learning_rate": 0.03}},
    {"optimizer": ADAM | {"gradient_clip": 0.1}},
]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_run_interrupted_at_every_block_equals_an_undisturbed_one(
    tmp_path: Path, name: str
) -> None:
    """Every block runs in a fresh process, as it were: a new trainer restored from bytes."""
    case = stopping_case(tmp_path, **VARIANTS[name])
    assert_interruptions_leave_no_trace(case, [case.spec])


@pytest.mark.parametrize("architecture", [BATCH_NORM, TABM], ids=["batch", "tabm"])
def test_trials_interrupted_at_every_block_equal_undisturbed_ones(
    tmp_path: Path, architecture: dict[str, Any]
) -> None:
    case = stopping_case(tmp_path, architecture=architecture, k_folds=2, max_epochs=8)
    trials = [TrainingSpec.model_validate(case.spec.model_dump() | change) for change in TRIALS]
    assert_interruptions_leave_no_trace(case, trials)


def assert_interruptions_leave_no_trace(case: Case, trials: Sequence[TrainingSpec]) -> None:
    expected = undisturbed(case, trials)
    ends = {course.epochs for course in expected.courses if course.stopped_by == "early_stopping"}
    assert ends, "the case means something only if members leave early"

    losses: list[MemberEpoch] = []
    checkpoint, attempts = b"", 0
    while True:
        trainer, monitor = trainer_of(case, trials=trials), Interruptor(blocks=1)
        attempts += 1
        if checkpoint:
            assert trainer.restore(checkpoint)
        try:
            trained = trainer.train(monitor)
        except Interrupted:
            checkpoint = monitor.saved
        else:
            break
        finally:
            losses += monitor.losses
    blocks = -(-max(len(fold.train) for fold in case.folds) // BLOCK_ROWS)
    assert attempts >= blocks * max(course.epochs for course in expected.courses)
    assert_equal(finished(trained, losses), expected)


def test_a_run_interrupted_once_equals_an_undisturbed_one(tmp_path: Path) -> None:
    """Before the first block, within an epoch, between epochs, and after a fold has left."""
    case = stopping_case(tmp_path)
    expected = undisturbed(case)
    first_end = min(course.epochs for course in expected.courses)
    assert first_end < max(course.epochs for course in expected.courses)
    for blocks in (0, 1, BLOCKS, BLOCKS * first_end, BLOCKS * first_end + 1):
        before, after = Interruptor(blocks), Interruptor()
        with pytest.raises(Interrupted):
            trainer_of(case).train(before)
        trainer = trainer_of(case)
        assert trainer.restore(before.saved)
        trained = trainer.train(after)
        assert_equal(finished(trained, before.losses + after.losses), expected)


def test_a_checkpoint_of_another_format_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = stopping_case(tmp_path, max_epochs=4)
    monitor = Interruptor(blocks=4)
    with monkeypatch.context() as patch:
        patch.setattr("models.training.checkpoint.FORMAT", 0)
        with pytest.raises(Interrupted):
            trainer_of(case).train(monitor)
    trainer, rest = trainer_of(case), Interruptor()
    assert not trainer.restore(monitor.saved)
    assert_equal(finished(trainer.train(rest), rest.losses), undisturbed(case))


def test_checkpoints_are_offered_while_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.training.engine.CHECKPOINT_INTERVAL", 0.0)
    case = stopping_case(tmp_path, max_epochs=2)
    monitor = Interruptor()
    expected = finished(trainer_of(case).train(monitor), monitor.losses)
    trainer, rest = trainer_of(case), Interruptor()
    assert trainer.restore(monitor.saved)
    assert finished(trainer.train(rest), rest.losses).courses == expected.courses


def test_running_statistics_belong_to_the_best_weights(tmp_path: Path) -> None:
    """A run that ends with a member's best epoch leaves what the longer one kept of it."""
    case = stopping_case(tmp_path, architecture=BATCH_NORM)
    longer = trainer_of(case, torch.float64).train(Monitor())
    fold, course = next(
        (place, course)
        for place, course in enumerate(longer.courses)
        if 1 < course.best_epoch < course.epochs
    )
    spec = case.spec.model_copy(update={"max_epochs": course.best_epoch})
    trainer = trainer_of(case, torch.float64, [spec])
    live = trainer.train(Monitor()).network.state_dict()
    for name, value in longer.network.state_dict().items():
        torch.testing.assert_close(value[fold], live[name][fold], rtol=1e-12, atol=1e-12)
    assert any(name.endswith("running_mean") for name in live)
    assert live["norms.0.running_mean"][fold].any()


def test_a_seed_decides_every_bit(tmp_path: Path) -> None:
    first, again, other = (
        undisturbed(stopping_case(tmp_path, max_epochs=3, seed=seed)) for seed in (7, 7, 8)
    )
    assert_equal(first, again)
    for name, weight in first.weights.items():
        assert not torch.equal(weight, other.weights[name]), name


COMPANIES: dict[str, dict[str, Any]] = {
    "equal": {},
    # The first trains on a fifth of the last one's rows: it idles while the others go on.
    "unequal": {"folds": {"type": "time", "column": "sold"}},
    "on a schedule": {
        "folds": {"type": "time", "column": "sold"},
        "optimizer": {**ADAM, "schedule": "cosine"},
    },
}


@pytest.mark.parametrize("fold", [0, 2, 4])
@pytest.mark.parametrize("company", COMPANIES)
def test_a_fold_does_not_feel_its_companions(tmp_path: Path, company: str, fold: int) -> None:
    """Alone from the first batch on, or among folds that leave at their own time."""
    case = stopping_case(tmp_path, **COMPANIES[company])
    in_company = Interruptor()
    together = trainer_of(case, torch.float64).train(in_company)

    trainer = trainer_of(case, torch.float64)
    tensors, state = unpack(trainer.save()) or pytest.fail("its own checkpoint")
    alone = {
        name: tensor if name.startswith("best/") else tensor[[fold]]
        for name, tensor in tensors.items()
    }
    alone["losses"] = alone["losses"][:, : -(-len(case.folds[fold].train) // case.spec.batch_size)]
    assert trainer.restore(pack(alone, state | {"active": [fold], "steps": [0]}))
    by_itself = Interruptor()
    single = trainer.train(by_itself)

    expected = [row for row in in_company.losses if row.member.fold == fold]
    assert [row.epoch for row in by_itself.losses] == [row.epoch for row in expected]
    assert single.courses[fold].best_epoch == together.courses[fold].best_epoch
    for found, row in zip(by_itself.losses, expected, strict=True):
        assert found.train_loss == pytest.approx(row.train_loss, rel=1e-9)
        assert found.validation_loss == pytest.approx(row.validation_loss, rel=1e-9)
    others = dict(together.network.named_parameters())
    for name, weight in single.network.named_parameters():
        torch.testing.assert_close(weight[fold], others[name][fold], rtol=1e-9, atol=1e-9)
