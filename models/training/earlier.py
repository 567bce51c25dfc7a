"""The networks of an earlier model, and what their folds made of the columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import safe_open
from torch import Tensor

from models.data.preprocessing import FoldStatistics, align_bins, knots_of
from models.networks.keys import BIN, LEVEL, Key


@dataclass(frozen=True)
class EarlierNetworks:
    """The networks of one architecture of an earlier model.

    folds : the numbers of its F folds
    keys : of the inputs
    network : by name, (F·m, …): fold f owns members f·m … f·m + m − 1
    encoder : by name, (F, 1, …)
    target : by name, (F, …) or (F·m, …)
    """

    folds: list[int]
    keys: list[Key]
    network: dict[str, Tensor]
    encoder: dict[str, Tensor]
    target: dict[str, Tensor]

    @property
    def numeric(self) -> int:
        """How many of the inputs are scaled numbers; they come first."""
        return self.encoder["center"].shape[2]

    def bins(self) -> dict[Key, list[int]]:
        """The places of a number's bins among all bins."""
        found: dict[Key, list[int]] = {}
        for number, key in enumerate(self.keys[self.numeric :]):
            if key[0] == BIN:
                found.setdefault(key[1:-1], []).append(number)
        return found

    def place(self, fold: int) -> int | None:
        """Of a fold among those that there are."""
        return self.folds.index(fold) if fold in self.folds else None

    def weights(self, place: int, replica: int) -> dict[str, Tensor]:
        """One network's, by name."""
        count = len(next(iter(self.network.values()))) // len(self.folds)
        own = place * count + replica % count
        return {name: value[own] for name, value in self.network.items()}

    def learnt(self, place: int) -> dict[Key, int]:
        """The inputs that a fold learnt from, and their places: not those that never varied."""
        varies = self.encoder["varies"][place, 0].bool()
        levels = [number for number, key in enumerate(self.keys) if key[0] == LEVEL]
        silent = {number for number, own in enumerate(varies.tolist()) if not own}
        seen = self.encoder["seen"][place, 0].tolist()
        silent |= {number for number, own in zip(levels, seen, strict=True) if not own}
        return {key: number for number, key in enumerate(self.keys) if number not in silent}


def read_networks(weights: Path, members: int) -> list[EarlierNetworks | None]:
    """Those of a file that `models.export.weights` wrote, by the member of a blend, or one; None
    for a member that is solved or was left out."""
    found: list[EarlierNetworks | None] = [None] * members
    with safe_open(weights, "pt") as file:
        metadata = json.loads(file.metadata()["served"])
        names = file.keys()

        def under(prefix: str) -> dict[str, Tensor]:
            return {
                name.removeprefix(prefix): file.get_tensor(name)
                for name in names
                if name.startswith(prefix)
            }

        for number, part in enumerate(metadata["parts"]):
            if part["inputs"]:
                found[part["member"]] = EarlierNetworks(
                    metadata["folds"],
                    [tuple(key) for key in part["inputs"]],
                    under(f"_parts.{number}.network."),
                    under(f"_parts.{number}.encoder."),
                    under("target."),
                )
    return found


def keep_statistics(
    statistics: FoldStatistics, scaled: Sequence[Key], earlier: EarlierNetworks
) -> FoldStatistics:
    """What folds learnt about columns, with that of the earlier folds where they learnt it.

    `scaled`: the keys of the N scaled numbers.
    """
    fill, center, scale, reach, knots = (
        getattr(statistics, name).copy() for name in ("fill", "center", "scale", "reach", "knots")
    )
    bins = [statistics.bin_knots(fold) for fold in range(len(fill))]
    before = {name: value[:, 0].numpy() for name, value in earlier.encoder.items()}
    codes = earlier.bins()
    for fold in range(len(fill)):
        place = earlier.place(fold)
        known = {} if place is None else earlier.learnt(place)
        for column, key in enumerate(scaled):
            if key not in known:
                continue
            old = known[key]
            if column < fill.shape[1]:
                fill[fold, column] = before["fill"][place, old]
            for values, name in ((center, "center"), (scale, "scale"), (reach, "reach")):
                values[fold, column] = before[name][place, old]
            knots[fold, :, column] = before["knots"][place, old]
            low = before["bin_low"][place, codes.get(key, [])]
            width = before["bin_width"][place, codes.get(key, [])]
            bins[fold][column] = knots_of(low, np.where(np.isinf(low), 0.0, width))
    columns, bin_low, bin_width = align_bins(bins)
    return replace(
        statistics,
        fill=fill,
        center=center,
        scale=scale,
        reach=reach,
        knots=knots,
        bin_columns=columns,
        bin_low=bin_low,
        bin_width=bin_width,
    )
