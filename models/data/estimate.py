"""The size of a run before anything is read: weights, memory and time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from models.data.features import MAX_LEVELS, select
from models.data.profile import Profile
from models.spec import (
    Architecture,
    LinearArchitecture,
    Periodic,
    ResNetArchitecture,
    TabmArchitecture,
    TrainingSpec,
    bins_of,
)

# Floating point operations a second that training reaches on two cores, order of magnitude.
TRAINING_RATE = 3e10
# Seconds that preparing, evaluating and exporting take besides training.
OVERHEAD_SECONDS = 6.0
# Copies of a member's weights: weights, gradients, two moments, the best, one to spare.
WEIGHT_COPIES = 6
FLOAT_BYTES = 4
# Forward, and backward by weights and by inputs, a multiplication and an addition each.
OPERATIONS_PER_WEIGHT = 6


@dataclass(frozen=True)
class Estimate:
    """`parameters` of one member, `memory_bytes` and `seconds` of the whole run."""

    parameters: int
    memory_bytes: int
    seconds: float


def estimate(spec: TrainingSpec, profile: Profile) -> Estimate:
    """Of a resolved spec.

    memory = table + members · (copies · 4 bytes · weights + 12 bytes · batch · Σ widths)
    """
    widths = layer_widths(spec.architecture, input_width(spec, profile))
    parameters = sum(a * b + b for a, b in pairwise(widths))
    passes = 1
    if isinstance(spec.architecture, TabmArchitecture):
        passes = spec.architecture.ensemble_size
    members = spec.k_folds * spec.members_per_fold
    table = profile.rows * (len(spec.features.kinds) + 1) * 8
    activations = 3 * FLOAT_BYTES * spec.batch_size * sum(widths) * passes
    rows = profile.rows * (spec.k_folds - 1) / spec.k_folds * spec.max_epochs
    operations = OPERATIONS_PER_WEIGHT * passes * parameters * rows * members
    return Estimate(
        parameters=parameters,
        memory_bytes=table + members * (WEIGHT_COPIES * FLOAT_BYTES * parameters + activations),
        seconds=OVERHEAD_SECONDS + operations / TRAINING_RATE,
    )


def input_width(spec: TrainingSpec, profile: Profile) -> int:
    """Inputs of the first layer: a number with its embedding, and one a level."""
    columns = {column.name: column for column in profile.columns}
    bins = bins_of(spec.architecture)
    embedding = getattr(spec.architecture, "numeric_embedding", None)
    width = 0
    for feature in select(spec, profile):
        column = columns[feature.name]
        if feature.kind == "categorical":
            width += min(column.distinct + (column.missing > 0), MAX_LEVELS)
        elif isinstance(embedding, Periodic):
            width += embedding.size
        else:
            width += 1 + min(bins, max(0, column.distinct - 1))
    return width


def layer_widths(architecture: Architecture, inputs: int) -> list[int]:
    """Units from the inputs to the output, layer after layer."""
    match architecture:
        case LinearArchitecture():
            return [inputs, 1]
        case ResNetArchitecture():
            blocks = [architecture.block_width, architecture.width] * architecture.blocks
            return [inputs, architecture.width, *blocks, 1]
        case _:
            return [inputs, *architecture.hidden_sizes, 1]
