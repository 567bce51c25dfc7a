"""What a sweep searches if it does not say so.

The ranges are published ones, cut to what two cores train in minutes: layers of at most 512 units,
and fewer networks in a TabM.
"""

from __future__ import annotations

from typing import Any

from models.data.aside import seen_rows
from models.objectives import REGRESSION
from models.planning.faults import SpecError, SpecFault, column_of
from models.planning.recipe import (
    BLENDED_LOSSES,
    MANY_ROWS,
    MOST_TREE_CLASSES,
    VERY_MANY_ROWS,
)
from models.spec import TrainingSpec
from models.spec.sweep import SweepSpec
from models.sweeps.fields import architectures
from models.sweeps.reading import base_of
from models.sweeps.table import resolved_base
from models.tables.profile import Profile

Parameters = dict[str, dict[str, Any]]

# Gorishniy et al. 2022 (arXiv 2203.05556) tune 1 to 5 layers of 64 to 1,024 units, dropout from 0
# to 0.5, weight decay from 1e-4 to 0.1 or none, rates from 3e-5 to 1e-3 without a schedule; the
# recipe's rates, with one, are higher (docs/decisions/0001-default-spec.md), and so is its decay.
MLP: Parameters = {
    "architecture.hidden_sizes": {
        "choices": [[128, 64], [256, 64], [256, 128, 64], [256, 256], [512, 128], [512, 256, 128]]
    },
    "architecture.numeric_embedding": {
        "choices": [
            None,
            {"type": "piecewise_linear", "bins": 16},
            {"type": "piecewise_linear", "bins": 32},
            {"type": "periodic"},
        ]
    },
    "dropout": {"low": 0.0, "high": 0.5},
    "weight_decay": {"low": 1e-4, "high": 1.0, "log": True},
    "optimizer.learning_rate": {"low": 3e-4, "high": 5e-3, "log": True},
    "optimizer.schedule": {"choices": ["cosine"]},
}
# Gorishniy et al. 2021 (arXiv 2106.11959).
RESNET: Parameters = {
    "architecture.blocks": {"low": 1, "high": 4},
    "architecture.width": {"choices": [64, 128, 256]},
    "architecture.block_width": {"choices": [128, 256, 512]},
    "dropout": {"low": 0.0, "high": 0.5},
    "weight_decay": {"low": 1e-4, "high": 1.0, "log": True},
    "optimizer.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "optimizer.schedule": {"choices": ["cosine"]},
}
# Holzmüller et al. 2024 (arXiv 2407.04491), "RealMLP-HPO", with the schedule and batches of
# "RealMLP-TD".
REALMLP: Parameters = {
    "architecture.hidden_sizes": {
        "choices": [[256, 256, 256], [64, 64, 64, 64, 64], [512]],
    },
    "architecture.numeric_embedding": {
        "choices": [{"type": "periodic", "scale": scale} for scale in (0.05, 0.1, 0.2, 0.5)]
    },
    "architecture.activation": {"choices": ["mish", "selu", "relu"]},
    "dropout": {"choices": [0.0, 0.15, 0.3]},
    "weight_decay": {"choices": [0.0, 0.02]},
    "optimizer.learning_rate": {"low": 0.02, "high": 0.3, "log": True},
    "optimizer.schedule": {"choices": ["multi_cosine"]},
    "batch_size": {"choices": [256]},
}
# Gorishniy et al. 2024 (arXiv 2410.24210) tune 1 to 4 layers of 64 to 1,024 units and 2 to 128
# bins, for 32 networks, with batches of 256.
TABM: Parameters = {
    "architecture.hidden_sizes": {"choices": [[128], [256], [128, 128], [256, 256], [128] * 3]},
    "architecture.ensemble_size": {"choices": [8, 16]},
    "architecture.numeric_embedding": {
        "choices": [{"type": "piecewise_linear", "bins": bins} for bins in (8, 16, 32, 64)]
    },
    "dropout": {"low": 0.0, "high": 0.5},
    "weight_decay": {"low": 1e-4, "high": 0.1, "log": True},
    "optimizer.learning_rate": {"low": 1e-4, "high": 5e-3, "log": True},
    "batch_size": {"choices": [256]},
}
# TabArena's of LightGBM (Erickson et al. 2025, arXiv 2506.16791), to 64 of its 200 leaves; it stops
# early where this searches the number of trees.
BOOSTED_TREES: Parameters = {
    "architecture.iterations": {"low": 200, "high": 2_000, "log": True},
    "architecture.learning_rate": {"low": 0.01, "high": 0.1, "log": True},
    "architecture.leaves": {"low": 4, "high": 64, "log": True},
    "architecture.leaf_rows": {"low": 1, "high": 64, "log": True},
    "architecture.column_share": {"low": 0.3, "high": 1.0},
    "architecture.row_share": {"low": 0.5, "high": 1.0},
}
# TabArena's of xRFM (Beaglehole et al. 2025, arXiv 2508.10053) has penalties from 1e-6 to 10, and
# widths from 0.5 to 200 that are no factors of a distance as ours are.
KERNEL: Parameters = {
    "architecture.penalty": {"low": 1e-4, "high": 10.0, "log": True},
    "architecture.width": {"low": 0.5, "high": 30.0, "log": True},
}
LINEAR: Parameters = {
    "weight_decay": {"low": 1e-4, "high": 10.0, "log": True},
    "optimizer.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
}
SPACES: dict[str, Parameters] = {
    "mlp": MLP,
    "resnet": RESNET,
    "realmlp": REALMLP,
    "tabm": TABM,
    "boosted_trees": BOOSTED_TREES,
    "kernel": KERNEL,
    "linear": LINEAR,
    "ridge": {},
    "perceptron": {},
}
# Of networks, from so many rows on.
BATCHES = {0: [32, 64, 128], MANY_ROWS: [128, 256], VERY_MANY_ROWS: [512]}
EPOCHS = {0: 60, MANY_ROWS: 30}


def complete(sweep: SweepSpec, target: str, profile: Profile) -> SweepSpec:
    """The sweep with a `search_space`, for the table if it has none.

    Raises
    ------
    SpecError: if its `spec` does not fit the table, or leaves nothing to search.
    """
    if sweep.search_space is not None:
        return sweep
    base = base_of(sweep, target)
    spec = resolved_base(base, profile)
    if sweep.sampler == "grid":
        detail = "a grid needs a 'search_space' of choices, or of ranges with a 'step'"
        raise SpecError([SpecFault("/search_space", detail)])
    named = base.get("architecture")
    types = [named["type"]] if named else _types(spec, profile)
    rows = seen_rows(spec, profile)
    space: dict[str, Any] = {}
    for own in types:
        for name, parameter in _own(own, rows).items():
            if not _has(base, name):
                space.setdefault(name, []).append({**parameter, "architectures": [own]})
    if named is None:
        space = {"architecture": {"choices": [{"type": own} for own in types]}} | space
    if not space:
        detail = f"nothing is left to search for '{types[0]}': name fields in 'search_space'"
        raise SpecError([SpecFault("/search_space", detail)])
    return SweepSpec.model_validate({**sweep.model_dump(exclude_unset=True), "search_space": space})


def _types(spec: TrainingSpec, profile: Profile) -> list[str]:
    """Architectures that are worth a try."""
    types = ["mlp", "realmlp", "tabm"]
    target = column_of(profile, spec.target)
    assert target is not None
    is_number = spec.task == REGRESSION
    has_many_classes = not is_number and target.distinct > MOST_TREE_CLASSES
    if spec.loss in (None, *BLENDED_LOSSES) and not has_many_classes:
        types.append("boosted_trees")
    if is_number and spec.loss in (None, "squared_error"):
        types += ["kernel", "ridge"] if seen_rows(spec, profile) < MANY_ROWS else ["ridge"]
    return types


def _own(architecture: str, rows: int) -> Parameters:
    """What one architecture's trials differ in, on a table of that size."""
    space = dict(SPACES[architecture])
    if not architectures()[architecture].is_fitted and space:
        space.setdefault("batch_size", {"choices": _by_rows(BATCHES, rows)})
        space["max_epochs"] = {"choices": [_by_rows(EPOCHS, rows)]}
    return space


def _by_rows(values: dict[int, Any], rows: int) -> Any:
    return values[max(least for least in values if rows >= least)]


def _has(base: dict[str, Any], name: str) -> bool:
    """Whether the spec names a field, or all of what it is in."""
    inner: Any = base
    for part in name.split("."):
        if not isinstance(inner, dict):
            return True
        if part not in inner:
            return False
        inner = inner[part]
    return True
