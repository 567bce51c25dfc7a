"""A run that is interrupted and restored equals an undisturbed one, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from houses import Case, house_frame, lay, trainer_of
from torch import Tensor

from models.members import Member
from models.training.checkpoint import pack, unpack
from models.training.engine import (
    Course,
    EpochLosses,
    Interrupted,
    Monitor,
    TrainedPopulation,
)

# 74 training rows in batches of 16 make an epoch of three blocks.
BLOCK_ROWS = 32
BLOCKS = 3
ADAM = {"name": "adam", "learning_rate": 0.1}
SGD = {"name": "sgd", "learning_rate": 0.1, "gradient_clip": 1.0}


@dataclass(frozen=True)
class Run:
    """What a finished run is compared by."""

    weights: dict[str, Tensor]
    losses: list[EpochLosses]
    courses: list[Course]


class Interruptor(Monitor):
    """Lets a number of blocks pass, then stops the run and keeps its checkpoint."""

    def __init__(self, blocks: int | None = None) -> None:
        self.left = blocks
        self.losses: list[EpochLosses] = []
        self.saved = b""

    def epoch_ended(self, losses: list[EpochLosses], active: list[Member]) -> None:  # noqa: ARG002
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
    return lay(
        folder,
        house_frame(),
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


def finished(trained: TrainedPopulation, losses: list[EpochLosses]) -> Run:
    return Run(dict(trained.network.named_parameters()), losses, trained.courses)


def undisturbed(case: Case) -> Run:
    monitor = Interruptor()
    return finished(trainer_of(case).train(monitor), monitor.losses)


def assert_equal(found: Run, expected: Run) -> None:
    assert found.courses == expected.courses
    assert found.losses == expected.losses
    assert found.weights.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():
        assert torch.equal(found.weights[name], weight), name


@pytest.mark.parametrize("optimizer", [ADAM, SGD], ids=["adam", "sgd"])
def test_a_run_interrupted_at_every_block_equals_an_undisturbed_one(
    tmp_path: Path, optimizer: dict[str, Any]
) -> None:
    """Every block runs in a fresh process, as it were: a new trainer restored from bytes."""
    case = stopping_case(tmp_path, optimizer=optimizer)
    expected = undisturbed(case)
    ends = {course.epochs for course in expected.courses if course.stopped_by == "early_stopping"}
    assert ends, "the case means something only if folds leave early"

    losses: list[EpochLosses] = []
    checkpoint, attempts = b"", 0
    while True:
        trainer, monitor = trainer_of(case), Interruptor(blocks=1)
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
    assert attempts >= BLOCKS * max(course.epochs for course in expected.courses)
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


def test_a_seed_decides_every_bit(tmp_path: Path) -> None:
    first, again, other = (
        undisturbed(stopping_case(tmp_path, max_epochs=3, seed=seed)) for seed in (7, 7, 8)
    )
    assert_equal(first, again)
    for name, weight in first.weights.items():
        assert not torch.equal(weight, other.weights[name]), name


@pytest.mark.parametrize("fold", [0, 2, 4])
def test_a_fold_does_not_feel_its_companions(tmp_path: Path, fold: int) -> None:
    """Alone from the first batch on, or among folds that leave at their own time."""
    case = stopping_case(tmp_path)
    in_company = Interruptor()
    together = trainer_of(case, torch.float64).train(in_company)

    trainer = trainer_of(case, torch.float64)
    tensors, state = unpack(trainer.save()) or pytest.fail("its own checkpoint")
    alone = {
        name: tensor if name.startswith("best/") else tensor[[fold]]
        for name, tensor in tensors.items()
    }
    assert trainer.restore(pack(alone, state | {"active": [fold]}))
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
