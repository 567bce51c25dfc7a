from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from houses import house_frame, lay, trainer_of

from models.planning.layers import is_frozen
from models.training.progress import Monitor

CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({"type": "mlp", "hidden_sizes": [6, 5]}, ["hidden.0", "output"]),
    ({"type": "resnet", "width": 5, "block_width": 6}, ["first", "norms.0"]),
    ({"type": "realmlp", "hidden_sizes": [6, 5]}, ["embedding", "input_scale", "hidden.1"]),
    ({"type": "tabm", "hidden_sizes": [6, 5], "ensemble_size": 3}, ["hidden.0", "heads"]),
]


@pytest.mark.parametrize(("architecture", "freeze"), CASES, ids=str)
def test_frozen_layers_keep_their_bits_and_the_others_learn(
    tmp_path: Path, architecture: dict[str, Any], freeze: list[str]
) -> None:
    case = lay(
        tmp_path,
        house_frame(66),
        architecture=architecture,
        freeze=freeze,
        k_folds=3,
        max_epochs=3,
        weight_decay=0.5,
        early_stopping={"patience": 1, "fraction": 0.2},
        optimizer={"learning_rate": 0.05, "gradient_clip": 0.5},
    )
    trainer = trainer_of(case)
    before = copy.deepcopy(dict(trainer.network.named_parameters()))
    after = dict(trainer.train(Monitor()).network.named_parameters())
    for name, value in after.items():
        assert torch.equal(value, before[name]) == is_frozen(name, freeze), name
    layers = trainer.courses[0].last_layers
    for layer in layers:
        assert (layer["update_ratio"] is None) == is_frozen(layer["name"], freeze)
