from __future__ import annotations

from typing import Any

import pytest

from models.members import members_of
from models.networks import build_network
from models.networks.population import Shape
from models.planning.layers import INPUTS, OUTPUTS, affine_layers, freezable, is_frozen
from models.spec import TrainingSpec

PERIODIC = {"type": "periodic", "frequencies": 3, "size": 3}
ARCHITECTURES: list[dict[str, Any]] = [
    {"type": "linear"},
    {"type": "perceptron"},
    {"type": "mlp", "hidden_sizes": [6, 5], "normalization": "batch", "linear_path": True},
    {"type": "mlp", "hidden_sizes": [6], "numeric_embedding": PERIODIC},
    {"type": "resnet", "blocks": 2, "width": 5, "block_width": 6},
    {"type": "resnet", "width": 5, "normalization": "none", "numeric_embedding": PERIODIC},
    {"type": "realmlp", "hidden_sizes": [6, 5]},
    {"type": "tabm", "hidden_sizes": [6, 5], "ensemble_size": 3},
]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda own: own["type"])
def test_every_parameter_belongs_to_one_layer(architecture: dict[str, Any]) -> None:
    spec = TrainingSpec.model_validate({"target": "price", "architecture": architecture})
    network = build_network(members_of([spec]), Shape(2, 4, 3))
    names = freezable(spec.architecture)
    for parameter, _ in network.named_parameters():
        assert sum(is_frozen(parameter, [name]) for name in names) == 1, parameter
    for name in names:
        assert any(is_frozen(parameter, [name]) for parameter, _ in network.named_parameters())
    sizes = {INPUTS: getattr(network, "embedding", None), OUTPUTS: 3}
    for name, ends in affine_layers(spec.architecture).items():
        layer = network.get_submodule(name)
        weight = getattr(layer, "shared", layer).weight
        given = 4 if sizes[INPUTS] is None else sizes[INPUTS].width
        assert tuple(weight.shape[-2:]) == tuple(
            given if end == INPUTS else 3 if end == OUTPUTS else end for end in ends
        )
