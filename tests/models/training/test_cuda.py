"""On a GPU: the same numbers as on a CPU, steps that are recorded and replayed, and no wait for the
device inside an epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from houses import house_frame, lay

from models.members import members_of
from models.training.engine import Trainer
from models.training.inputs import Inputs
from models.training.progress import MemberEpoch, Monitor
from models.training.recorded import WARM_UPS, Recorded
from models.training.runs import train_many

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

SPECS: list[dict[str, Any]] = [
    {"architecture": {"type": "linear"}},
    {"architecture": {"type": "mlp", "hidden_sizes": [16, 8]}},
    {"architecture": {"type": "resnet"}},
    {"architecture": {"type": "tabm", "hidden_sizes": [16]}},
]
CUDA = torch.device("cuda")


class Losses(Monitor):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def epoch_ended(self, metrics: list[MemberEpoch], active: object) -> None:  # noqa: ARG002
        self.seen += [row.validation_loss for row in metrics]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["architecture"]["type"])
def test_the_same_losses_as_on_a_cpu(spec: dict[str, Any], tmp_path: Path) -> None:
    case = lay(tmp_path, house_frame(), **spec, max_epochs=3, batch_size=16)
    losses = {}
    for device in (torch.device("cpu"), CUDA):
        monitor = Losses()
        train_many([case.spec], case.design, case.folds, device=device, monitor=monitor)
        losses[device.type] = np.sort(monitor.seen)
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=1e-3)


def trainer_on_gpu(tmp_path: Path, **spec: Any) -> Trainer:
    settings = {"dropout": 0.2, "max_epochs": 6, "batch_size": 16, "early_stopping": None}
    case = lay(tmp_path, house_frame(), **settings | spec)
    return Trainer(members_of([case.spec]), Inputs(case.spec, case.design, case.folds, CUDA))


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16"])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["architecture"]["type"])
def test_recorded_steps_train_as_steps_that_are_not(
    spec: dict[str, Any], precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout included: a replay draws the numbers that the step itself would draw."""
    schedule = {"optimizer": {"schedule": "cosine", "gradient_clip": 1.0}, "weight_decay": 0.1}
    settings = spec | schedule | {"precision": precision}
    recorded = trainer_on_gpu(tmp_path, **settings)
    found = recorded.train(Monitor())
    assert recorded._step.recorded.recordings >= 2
    assert not Recorded.failed
    monkeypatch.setattr(Recorded, "failed", True)
    alone = trainer_on_gpu(tmp_path, **settings)
    expected = alone.train(Monitor())
    assert alone._step.recorded.recordings == 0
    for name, value in expected.network.state_dict().items():
        torch.testing.assert_close(found.network.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_a_recorded_mlp_has_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernels are the same, and none of them adds in an order that varies."""
    found = trainer_on_gpu(tmp_path, **SPECS[1]).train(Monitor())
    monkeypatch.setattr(Recorded, "failed", True)
    expected = trainer_on_gpu(tmp_path, **SPECS[1]).train(Monitor())
    for name, value in expected.network.state_dict().items():
        assert torch.equal(found.network.state_dict()[name], value), name


def test_nothing_waits_for_the_device_inside_an_epoch(tmp_path: Path) -> None:
    trainer = trainer_on_gpu(tmp_path, **SPECS[1])
    order = trainer._epoch_order()
    for _ in range(WARM_UPS + 2):  # allocates, and records all
        trainer._train_block(order, 0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer._train_block(order, 0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
