"""The metrics of a fold after an epoch: one type from the engine to the answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import Annotated, Any, cast

from pydantic import Field
from typing_extensions import TypedDict


class LayerEpoch(TypedDict):
    """An affine map of a network after an epoch, and the activation that follows it. What is null
    is unknown or not finite, or there is no such thing."""

    name: str
    gradient_norm: Annotated[
        float | None, Field(description="L2 norm of its weights' gradient in the first batch.")
    ]
    update_ratio: Annotated[
        float | None,
        Field(description="L2 norm of the first batch's step, divided by that of the weights."),
    ]
    weight_norm: Annotated[float | None, Field(description="L2 norm of its weights.")]
    unlikeness: Annotated[
        float | None,
        Field(
            description="How much its units differ: L2 norm of their weights less the units' mean, "
            "divided by that of the weights. 0: all units are equal."
        ),
    ]
    activation_mean: Annotated[
        float | None, Field(description="Over some scored rows and all units.")
    ]
    activation_deviation: Annotated[float | None, Field(description="Standard deviation, alike.")]
    dead_units: Annotated[float | None, Field(description="Share of its units.")]
    saturated_units: Annotated[float | None, Field(description="Share of its activations.")]


@dataclass(frozen=True)
class FoldEpoch:
    """One fold after one epoch: the mean over its members. Losses are on the standardised target's
    scale.

    The table `epoch_metrics`, the columns of an answer and the reports of a worker's child have
    these fields.
    """

    fold: int
    epoch: int
    train_loss: Annotated[
        float | None,
        Field(description="Mean over the epoch's batches, dropout included; null if not finite."),
    ]
    validation_loss: Annotated[
        float | None, Field(description="On the fold's scored rows; null if not finite.")
    ]
    learning_rate: Annotated[float, Field(description="At the end of the epoch.")]
    # Checkpoints contain these rows. The next three fields are missing in older ones.
    gradient_norm: Annotated[
        float | None,
        Field(
            description="L2 norm of the loss's gradient by all weights, before clipping, in the "
            "first batch of the epoch; null if not finite."
        ),
    ] = None
    dead_units: Annotated[
        float | None,
        Field(
            description="Share of hidden ReLU units, from 0 to 1, that are zero for every "
            "validation row; null for other activations."
        ),
    ] = None
    saturated_units: Annotated[
        float | None,
        Field(
            description="Share of hidden activations, from 0 to 1, that are within 1 % of their "
            "function's range from a bound (tanh, sigmoid, scaled_sigmoid); null for others."
        ),
    ] = None
    layers: Annotated[
        list[LayerEpoch] | None,
        Field(description="Affine maps from the inputs to the output; null if there are none."),
    ] = None

    @classmethod
    def mean(cls, members: Sequence[FoldEpoch]) -> FoldEpoch:
        """The mean over a fold's members after one epoch. They share its learning rate."""
        first = members[0]
        means = {
            name: _mean(getattr(member, name) for member in members)
            for name in FLAT_COLUMNS
            if name not in (*KEY, "learning_rate")
        }
        layers = [member.layers for member in members if member.layers is not None]
        return FoldEpoch(
            first.fold,
            first.epoch,
            learning_rate=first.learning_rate,
            **means,
            layers=mean_layers(layers) if layers else None,
        )


def mean_layers(members: Sequence[list[LayerEpoch]]) -> list[LayerEpoch]:
    """The mean over members of one shape."""
    figures: list[Any] = list(LAYER_FIGURES)
    return [
        cast(
            LayerEpoch,
            {"name": same[0]["name"]}
            | {figure: _mean(layer[figure] for layer in same) for figure in figures},
        )
        for same in zip(*members, strict=True)
    ]


LAYER_FIGURES = tuple(name for name in LayerEpoch.__annotations__ if name != "name")
COLUMNS = tuple(field.name for field in fields(FoldEpoch))
FLAT_COLUMNS = tuple(name for name in COLUMNS if name != "layers")  # of a CSV
KEY = ("fold", "epoch")
FIGURES = tuple(name for name in COLUMNS if name not in KEY)


def _mean(values: Iterable[float | None]) -> float | None:
    """None if nothing is known, or the mean is not finite."""
    known = [value for value in values if value is not None]
    mean = fmean(known) if known else math.nan
    return mean if math.isfinite(mean) else None
