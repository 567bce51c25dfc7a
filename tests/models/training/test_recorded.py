"""A step that is recorded once and replayed trains as one that is run each time, bit for bit.

The recording is a fake one, on a CPU: see tests/fake_cuda.py.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_cuda import FakeCuda, install
from houses import Case, house_frame, lay, trainer_of

from models.spec import TrainingSpec
from models.training.checkpoint import unpack
from models.training.engine import Trainer
from models.training.progress import MemberEpoch, Monitor
from models.training.recorded import WARM_UPS, Recorded

EPOCHS = 4
MLP = {"architecture": {"type": "mlp", "hidden_sizes": [6, 5]}, "dropout": 0.3}
FULL: dict[str, Any] = MLP | {"weight_decay": 0.1}
ADAMW = {"name": "adamw", "learning_rate": 0.01, "schedule": "cosine", "gradient_clip": 0.5}
SGD = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9, "schedule": "flat_cosine"}
SPECS: dict[str, dict[str, Any]] = {
    "adamw": FULL | {"optimizer": ADAMW},
    "sgd": FULL | {"optimizer": SGD},
    "plain sgd": FULL | {"optimizer": SGD | {"momentum": 0.0, "gradient_clip": 1.0}},
    "replicas": FULL | {"members_per_fold": 2},
    "batch norm": {
        "architecture": MLP["architecture"] | {"normalization": "batch"},
        "dropout": 0.3,
    },
    "bfloat16": FULL | {"precision": "bfloat16"},
    "linear": {"architecture": {"type": "linear"}, "optimizer": ADAMW},
    "resnet": {"architecture": {"type": "resnet", "blocks": 1, "width": 4, "block_width": 6}},
    "realmlp": {"architecture": {"type": "realmlp", "hidden_sizes": [6]}},
    "tabm": {"architecture": {"type": "tabm", "hidden_sizes": [6], "ensemble_size": 3}},
}


class Epochs(Monitor):
    def __init__(self) -> None:
        self.rows: list[MemberEpoch] = []

    def epoch_ended(self, metrics: list[MemberEpoch], active: object) -> None:  # noqa: ARG002
        self.rows += metrics


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return install(monkeypatch)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.engine.BLOCK_ROWS", 16)


def case_of(folder: Path, **spec: Any) -> Case:
    """Folds of 40 and 41 rows: in the last batch of an epoch only some members have a row."""
    settings = {"k_folds": 3, "batch_size": 8, "max_epochs": EPOCHS + 1, "early_stopping": None}
    return lay(folder, house_frame(61), **settings | spec)


def run(trainer: Trainer) -> tuple[dict[str, torch.Tensor], Any, list[MemberEpoch]]:
    """All that the rest of the run depends on, and what it reported."""
    epochs = Epochs()
    trainer.train(epochs, until=EPOCHS)
    state = unpack(trainer.save())
    assert state is not None
    return *state, epochs.rows


def assert_equal(case: Case, fake: FakeCuda, trials: list[TrainingSpec] | None = None) -> Trainer:
    recorded = trainer_of(case, trials=trials)
    found, state, rows = run(recorded)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorded, "failed", True)
        expected, expected_state, expected_rows = run(trainer_of(case, trials=trials))
    assert fake.graphs
    assert all(graph.replays for graph in fake.graphs)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name].nan_to_num(), value.nan_to_num()), name
    assert state == expected_state
    assert repr(rows) == repr(expected_rows)
    return recorded


@pytest.mark.parametrize("name", SPECS)
def test_a_recorded_step_trains_as_the_step_itself(
    tmp_path: Path, cuda: FakeCuda, name: str
) -> None:
    assert_equal(case_of(tmp_path, **SPECS[name]), cuda)


def test_trials_with_numbers_of_their_own(tmp_path: Path, cuda: FakeCuda) -> None:
    case = case_of(tmp_path, **SPECS["adamw"])
    other = case.spec.model_copy(
        update={
            "weight_decay": 0.3,
            "dropout": 0.5,
            "optimizer": case.spec.optimizer.model_copy(update={"learning_rate": 0.03}),
        }
    )
    assert_equal(case, cuda, [case.spec, other])


def test_members_that_stop_are_recorded_anew(tmp_path: Path, cuda: FakeCuda) -> None:
    stopping = {"early_stopping": {"patience": 1, "fraction": 0.2}}
    hasty = {"optimizer": {"learning_rate": 0.3}, "k_folds": 5}
    trainer = assert_equal(case_of(tmp_path, **MLP, **stopping, **hasty), cuda)
    assert 0 < len(trainer._active) < 5


def test_one_recording_for_each_set_of_members_that_move_together(
    tmp_path: Path, cuda: FakeCuda
) -> None:
    trainer = trainer_of(case_of(tmp_path, **FULL))
    trainer.train(Monitor(), until=WARM_UPS)
    before = trainer._step.recorded.recordings
    trainer.train(Monitor(), until=EPOCHS)
    # The gradients; all members, alike in the first epoch, and later apart by the steps that they
    # have taken; and those with a row in the last batch, once an epoch.
    assert (before, trainer._step.recorded.recordings) == (3, 4)
    assert len(cuda.graphs) == 4


def test_a_number_of_pythons_is_recorded_by_its_value(
    cuda: FakeCuda,  # noqa: ARG001
) -> None:
    total, numbers = torch.zeros(1), iter(range(1, 100))
    recorded = Recorded(torch.device("cuda"))
    for _ in range(WARM_UPS + 3):
        recorded.run("sum", lambda: total.add_(next(numbers)))
    assert total.item() == sum(range(1, WARM_UPS + 1)) + 3 * (WARM_UPS + 1)


def test_a_device_that_cannot_record_does_the_work_and_says_so_once(
    tmp_path: Path, cuda: FakeCuda, caplog: pytest.LogCaptureFixture
) -> None:
    cuda.refuses = True
    case = case_of(tmp_path, **FULL)
    with caplog.at_level(logging.WARNING):
        _, _, rows = run(trainer_of(case))
        run(trainer_of(case))
    (line,) = caplog.messages
    assert "operation not permitted when stream is capturing" in line
    assert not cuda.graphs
    assert len(rows) == EPOCHS * 3


def test_a_cpu_records_nothing() -> None:
    recorded, done = Recorded(torch.device("cpu")), []
    for number in range(WARM_UPS + 2):
        recorded.run("list", lambda number=number: done.append(number))
    assert done == list(range(WARM_UPS + 2))
    assert recorded.recordings == 0
