"""On a GPU: the same numbers as on a CPU, and no wait for the device inside an epoch."""

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


def test_nothing_waits_for_the_device_inside_an_epoch(tmp_path: Path) -> None:
    case = lay(tmp_path, house_frame(), **SPECS[1], dropout=0.2, max_epochs=3, batch_size=16)
    members = members_of([case.spec])
    trainer = Trainer(members, Inputs(case.spec, case.design, case.folds, CUDA))
    order = trainer._epoch_order()
    trainer._train_block(order, 0)  # allocates
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer._train_block(order, 0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
