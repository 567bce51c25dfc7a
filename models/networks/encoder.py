"""Turns cells into inputs by what each fold learnt about the columns."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.data.design import Vocabulary
from models.data.preprocessing import FENCE, FoldStatistics
from models.spec import Preprocessing
from models.tables.coordinates import FARTHEST, directions

# Bound of `robust` scaling's smooth clip, z / √(1 + (z / 3)²): Holzmüller et al. 2024,
# arXiv 2407.04491, section 3.
SMOOTH_CLIP = 3.0
# Scaled numbers are clipped here, so that they stay finite in float32 in any usual network.
LARGEST_INPUT = 1e12


class Encoder(nn.Module):
    """Maps numbers and level codes to network inputs of F folds.

    Buffers have the fold axis first, so that `population.take` can select folds.

    Input
    -----
    numbers : (F or 1, N, D) float64, NaN is missing
    codes : (F or 1, N, C) int64
    extra : (F, N, E) further features, scaled already

    Output
    ------
    (F, N, D + R + P + E + W) in the network's dtype: scaled numbers, the R turned axes of
    coordinates, piecewise-linear codes of all these, the further features, then one column per
    level. R, P and E may be 0. A level that a fold has not seen in training is zero there.

    With `levels="codes"`, each categorical column is one input instead (W = C): the level's code,
    or the number of levels for one that the fold has not seen.

    Attributes
    ----------
    columns : (inputs,) the column of the table that each input comes from: numeric ones from 0, the
        first coordinate for turned axes, categorical ones from D, further features from D + C
    """

    fill: Tensor  # (F, 1, D) float64
    center: Tensor  # (F, 1, D + R) float64
    scale: Tensor  # (F, 1, D + R) float64, never 0
    reach: Tensor  # (F, 1, D + R) float64
    varies: Tensor  # (F, 1, D + R) 0 where a column does not vary among the training rows
    knots: Tensor  # (F, 1, D + R, Q) float64
    bin_low: Tensor  # (F, 1, P) float64, infinite if a fold does not have the bin
    bin_width: Tensor  # (F, 1, P) float64, never 0
    bin_columns: Tensor  # (P,)
    seen: Tensor  # (F, 1, W)
    offsets: Tensor  # (C,) first column of each vocabulary
    unknown: Tensor  # (C,) the code without a column
    pair: Tensor  # (2,) the columns of the coordinates, or (0,)
    directions: Tensor  # (2, R) float64

    def __init__(
        self,
        statistics: FoldStatistics,
        vocabularies: list[Vocabulary],
        preprocessing: Preprocessing,
        dtype: torch.dtype = torch.float32,
        *,
        extras: int = 0,
        levels: Literal["one_hot", "codes"] = "one_hot",
    ) -> None:
        super().__init__()
        self.one_hot = levels == "one_hot"
        self.extras = extras
        self.scaling = preprocessing.numeric_scaling
        self.dtype = dtype

        def per_fold(name: str, values: np.ndarray, kind: torch.dtype) -> None:
            self.register_buffer(name, torch.as_tensor(values, dtype=kind).unsqueeze(1))

        constant = statistics.scale == 0
        per_fold("fill", statistics.fill, torch.float64)
        per_fold("center", statistics.center, torch.float64)
        per_fold("scale", np.where(constant, 1.0, statistics.scale), torch.float64)
        per_fold("reach", statistics.reach, torch.float64)
        per_fold("varies", ~constant, dtype)
        per_fold("knots", statistics.knots.transpose(0, 2, 1), torch.float64)
        unused = statistics.bin_width == 0
        per_fold("bin_low", np.where(unused, np.inf, statistics.bin_low), torch.float64)
        per_fold("bin_width", np.where(unused, 1.0, statistics.bin_width), torch.float64)
        per_fold("seen", statistics.seen, dtype)
        sizes = [vocabulary.unknown for vocabulary in vocabularies]
        for name, column in (
            ("offsets", np.cumsum([0, *sizes])[:-1]),
            ("unknown", sizes),
            ("bin_columns", statistics.bin_columns),
            ("pair", statistics.coordinates or ()),
        ):
            self.register_buffer(name, torch.as_tensor(column, dtype=torch.int64), persistent=False)
        self.register_buffer("directions", torch.from_numpy(directions()), persistent=False)
        self.levels = sum(sizes)
        self.numeric = statistics.center.shape[1]
        self.columns = _columns(statistics, sizes if self.one_hot else [1] * len(sizes), extras)
        self.width = len(self.columns)

    def forward(self, numbers: Tensor, codes: Tensor, extra: Tensor | None = None) -> Tensor:
        fill = self.fill
        filled = torch.where(torch.isnan(numbers), fill, numbers)
        if len(self.pair) > 0:
            fill = torch.cat([fill, self._turned(fill)], dim=-1)
            filled = torch.cat([filled, self._turned(filled)], dim=-1)
            numbers = filled
        parts = [self._scaled(filled)]
        if len(self.bin_columns) > 0:
            parts.append(self._piecewise(numbers, fill))
        if extra is not None:
            parts.append(extra.to(self.dtype))
        parts.append(self._one_hot(codes) if self.one_hot else self._seen_codes(codes))
        return torch.cat(parts, dim=-1)

    def _turned(self, filled: Tensor) -> Tensor:
        """(F, N, R) the scaled coordinates along turned axes."""
        center, scale, pair = (
            part.index_select(-1, self.pair) for part in (self.center, self.scale, filled)
        )
        scaled = ((pair - center) / scale).clamp(-FARTHEST, FARTHEST)
        return scaled @ self.directions

    def _scaled(self, filled: Tensor) -> Tensor:
        """(F, N, D); float64 until scaled, because float32 would lose a timestamp's digits."""
        if self.scaling == "quantile":
            scaled = self._ranked(filled)
        else:
            scaled = (filled - self.center) / self.scale
        scaled = scaled.clamp(-LARGEST_INPUT, LARGEST_INPUT)  # or a square below would overflow
        if self.scaling == "robust":
            wild = scaled.abs() > FENCE
            scaled = torch.where(wild, scaled.clamp(-self.reach, self.reach), scaled)
            scaled = scaled / torch.sqrt(1 + (scaled / SMOOTH_CLIP) ** 2)
        return scaled.to(self.dtype) * self.varies

    def _ranked(self, filled: Tensor) -> Tensor:
        """(F, N, D) rank among the training rows, uniform between −√3 and √3.

        The rank is piecewise linear between Q quantiles. A step without width (many equal values)
        counts half for those values, like a mid-rank.
        """
        low, high = self.knots[..., :-1], self.knots[..., 1:]  # (F, 1, D, Q - 1)
        distance = filled.unsqueeze(-1) - low
        width = high - low
        inside = distance / torch.where(width > 0, width, 1.0)
        step = 0.5 * (torch.sign(distance) + 1)
        rank = torch.where(width > 0, inside.clamp(0, 1), step).mean(-1)
        return (rank - 0.5) * (2 * 3**0.5)

    def _piecewise(self, numbers: Tensor, fill: Tensor) -> Tensor:
        """(F, N, P) for each bin: 0 below it, 1 above it, and linear inside.

        A missing number gets the code of the fold's fill. Rows that all folds share are expanded
        into bins only once, which is half of the cost.
        """
        by_bin = numbers.index_select(-1, self.bin_columns)
        code = self._within(by_bin)
        return torch.where(
            torch.isnan(by_bin), self._within(fill.index_select(-1, self.bin_columns)), code
        )

    def _within(self, by_bin: Tensor) -> Tensor:
        """The position of a number in its bin, from 0 to 1."""
        return ((by_bin - self.bin_low) / self.bin_width).clamp(0, 1).to(self.dtype)

    def _one_hot(self, codes: Tensor) -> Tensor:
        """(F, N, W) one-hot codes. Unknown codes go to a spare column, which is dropped."""
        known = codes < self.unknown
        places = torch.where(known, codes + self.offsets, self.levels)
        # This becomes ScatterElements in ONNX; Gather-and-sum took five times as long.
        wide = torch.zeros(
            codes.shape[0], codes.shape[1], self.levels + 1, dtype=self.dtype, device=codes.device
        )
        ones = torch.ones_like(places, dtype=self.dtype)
        return wide.scatter(-1, places, ones)[..., : self.levels] * self.seen

    def _seen_codes(self, codes: Tensor) -> Tensor:
        """(F, N, C)"""
        folds, (rows, columns) = len(self.seen), codes.shape[1:]
        places = torch.where(codes < self.unknown, codes + self.offsets, self.levels)
        places = places.flatten(1).expand(folds, rows * columns)
        seen = torch.cat([self.seen.squeeze(1), self.seen.new_zeros(folds, 1)], -1)
        known = seen.gather(-1, places).view(folds, rows, columns) > 0
        return torch.where(known, codes, self.unknown).to(self.dtype)


def _columns(statistics: FoldStatistics, widths: list[int], extras: int) -> tuple[int, ...]:
    """The table's column of each input; `widths`: how many inputs a categorical column has."""
    numeric = statistics.fill.shape[1]
    scaled = list(range(numeric))
    if statistics.coordinates is not None:
        scaled += [statistics.coordinates[0]] * (statistics.center.shape[1] - numeric)
    binned = [scaled[place] for place in statistics.bin_columns]
    further = [numeric + len(widths) + place for place in range(extras)]
    levels = [numeric + place for place, width in enumerate(widths) for _ in range(width)]
    return (*scaled, *binned, *further, *levels)
