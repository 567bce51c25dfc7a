"""Further inputs of a network, learnt from the fold's targets: comparables and means of groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.data.comparables import (
    FARTHEST_PLACE,
    LARGEST_NUMBER,
    PARTS,
    Groups,
    KnownRows,
    Learnt,
    groups_of,
    offsets_of,
)
from models.data.design import Codes, Design, Numbers
from models.networks.comparables import CHUNK_ROWS, LARGEST_FEATURE, NEIGHBOURS, Comparables
from models.networks.population import take

Wanted = Literal["auto"] | bool
# `auto` takes comparables that explain more than this share of what a line leaves, out of sample.
LEAST_EXPLAINED = 0.02
# Rows of a fold by which that is decided.
GATE_ROWS = 4_096
# With more rows, `auto` takes no comparables, because all would have to be compared with all.
MOST_ROWS = 200_000
# The most frequent classes; each has all of the features.
MOST_OUTPUTS = 8
SPACES = ("location", "attributes")


class Extras(nn.Module):
    """Features of rows of F folds from the targets of the folds' training rows.

    Input
    -----
    numbers : (F or 1, N, D) float64, NaN is missing
    codes : (F or 1, N, C) int64

    Output
    ------
    (F, N, E) float32, standardised and clipped: as for a row that is no training row, if it is one
    `of_training` has its own.

    Attributes
    ----------
    names : (E,) of the features
    used : which of location, attributes and group means there are
    explained : by name of a space that `auto` tried, the share of the line's squared residuals that
        16 comparables explain
    """

    fill: Tensor  # (F, 1, D) float64
    center: Tensor  # (F, 1, D) float64
    scale: Tensor  # (F, 1, D) float64
    place_center: Tensor  # (F, 1, 2) float64
    place_scale: Tensor  # (F, 1, 2) float64
    factor: Tensor  # (F, 1, D) float64
    contributions: Tensor  # (F, T, A)
    chosen: Tensor  # (F, S)
    level_means: Tensor  # (F, T, A)
    integer_means: Tensor  # (F, G, V, A)
    group_center: Tensor  # (F, 1, groups · A)
    group_scale: Tensor  # (F, 1, groups · A)
    unknown: Tensor  # (C,)
    offsets: Tensor  # (C,)
    values: Tensor  # (G, V) float64

    def __init__(
        self, learnt: Sequence[Learnt], design: Design, groups: Groups, spaces: Sequence[str]
    ) -> None:
        super().__init__()
        self.pair = design.coordinates
        self.groups = groups
        self.outputs = learnt[0].values.shape[2]
        self.explained: dict[str, float] = {}
        self._own = _Own([])
        double = ("fill", "center", "scale", "place_center", "place_scale", "factor")
        for name in (*double, "group_center", "group_scale"):
            values = torch.from_numpy(np.stack([getattr(fold, name) for fold in learnt]))
            kind = torch.float64 if name in double else torch.float32
            self.register_buffer(name, values.to(kind).unsqueeze(1))
        tables = {"integer_means": bool(groups.numeric), "level_means": bool(groups.categorical)}
        tables["contributions"] = "attributes" in spaces
        for name in (name for name, needed in tables.items() if needed):
            values = torch.from_numpy(np.stack([getattr(fold, name) for fold in learnt]))
            self.register_buffer(name, values.float())
        offsets = offsets_of(design)
        for name, shared in (
            ("unknown", np.array([v.unknown for v in design.categorical], np.int64)),
            ("offsets", offsets[:-1]),
            ("values", groups.values),
        ):
            self.register_buffer(name, torch.from_numpy(shared), persistent=False)
        self.location: Comparables | None = None
        self.attributes: Comparables | None = None
        known = [fold.values for fold in learnt]
        if "location" in spaces:
            self.location = Comparables([fold.places for fold in learnt], known)
        if "attributes" in spaces:
            self.attributes = Comparables([fold.attributes for fold in learnt], known)
            self.register_buffer("chosen", torch.from_numpy(np.stack([f.chosen for f in learnt])))
        columns = [design.categorical[place].name for place in groups.categorical]
        self._grouped = columns + [design.numeric[place] for place in groups.numeric]

    @classmethod
    def learn(
        cls,
        design: Design,
        known: Sequence[Codes],
        y: Sequence[Numbers],
        *,
        location: Wanted = "auto",
        attributes: Wanted = "auto",
        group_means: Literal["auto"] | Sequence[str] | None = "auto",
        seed: int = 0,
    ) -> Extras | None:
        """From each fold's training rows `known` (n,) and their standardised targets y (n, A); None
        if there is nothing to learn or `auto` takes nothing.

        group_means : `auto` takes categorical columns of 8 levels or more and columns of 8 to 50
            integers; a list names the columns
        """
        names = None if group_means == "auto" else list(group_means or [])
        groups = groups_of(design, known, names)
        tried = {
            "location": location if design.coordinates is not None else False,
            "attributes": attributes if design.numeric or design.categorical else False,
        }
        if len(design) > MOST_ROWS:
            tried = {space: wanted is True for space, wanted in tried.items()}
        spaces = [space for space in SPACES if tried[space]]
        if not spaces and not len(groups):
            return None
        most = _most_frequent(y)
        folds = [
            _Fold(design, rows, target[:, most], groups, spaces, seed, place)
            for place, (rows, target) in enumerate(zip(known, y, strict=True))
        ]
        judged = [space for space in spaces if tried[space] == "auto"]
        explained = {s: float(np.mean([fold.explained(s) for fold in folds])) for s in judged}
        spaces = [s for s in spaces if explained.get(s, 1.0) > LEAST_EXPLAINED]
        if not spaces and not len(groups):
            return None
        extras = cls([fold.whole for fold in folds], design, groups, spaces)
        extras.explained = explained
        extras._own = _Own([(fold.rows, fold.own(spaces)) for fold in folds])
        return extras

    @torch.no_grad()
    def of_training(self, design: Design) -> Tensor:
        """(F, n, E) of all rows of the design that this was learnt from. A fold's training rows are
        compared with four of five parts of the others. A copy does not have them."""
        if not self._own.rows:
            raise ValueError("only the module that learn() returned knows the training rows")
        features = torch.zeros(len(self.fill), len(design), self.width)
        for place, (rows, own) in enumerate(self._own.rows):
            features[place, torch.from_numpy(rows)] = own
            others = np.setdiff1d(np.arange(len(design)), rows)
            alone = take(self, torch.tensor([place]))
            found = alone._of(design.numbers[others], design.codes[others])[0]
            features[place, torch.from_numpy(others)] = found
        return features

    @property
    def used(self) -> tuple[str, ...]:
        spaces = [space for space in SPACES if getattr(self, space) is not None]
        return (*spaces, "group means") if self._grouped else tuple(spaces)

    @property
    def names(self) -> tuple[str, ...]:
        outputs = [f" {place}" for place in range(self.outputs)] if self.outputs > 1 else [""]
        names: list[str] = []
        for space in SPACES:
            if getattr(self, space) is None:
                continue
            for what in ("residual", "target"):
                names += [f"{space}: {what} of {k}{o}" for k in NEIGHBOURS for o in outputs]
            names += [f"{space}: spread of residuals{o}" for o in outputs]
            names += [f"{space}: distance of {k}" for k in NEIGHBOURS]
        return (*names, *(f"mean by {name}{o}" for name in self._grouped for o in outputs))

    @property
    def width(self) -> int:
        return len(self.names)

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        filled = torch.where(torch.isnan(numbers), self.fill, numbers)  # (F, N, D)
        parts = []
        if self.location is not None:
            parts.append(self.location(self._places(filled)))
        if self.attributes is not None:
            parts.append(self.attributes(self._attributes(filled, codes)))
        if self._grouped:
            parts.append(self._means(numbers, codes))
        return torch.cat(parts, -1)

    def mean_residual(self, space: str, numbers: Tensor, codes: Tensor) -> Tensor:
        """(F, N, A) of 16 neighbours in a space, as it is."""
        filled = torch.where(torch.isnan(numbers), self.fill, numbers)
        if space == "location":
            assert self.location is not None
            return self.location.mean_residual(self._places(filled))
        assert self.attributes is not None
        return self.attributes.mean_residual(self._attributes(filled, codes))

    def _places(self, filled: Tensor) -> Tensor:
        """(F, N, 2)"""
        assert self.pair is not None
        pair = torch.stack([filled[..., place] for place in self.pair], -1)
        scaled = (pair - self.place_center) / self.place_scale
        return scaled.clamp(-FARTHEST_PLACE, FARTHEST_PLACE).float()

    def _attributes(self, filled: Tensor, codes: Tensor) -> Tensor:
        """(F, N, S)"""
        scaled = ((filled - self.center) / self.scale).clamp(-LARGEST_NUMBER, LARGEST_NUMBER)
        numeric = (scaled * self.factor).float()
        by_level = self._by_level(self.contributions, codes, list(range(codes.shape[-1])))
        every = torch.cat([numeric, by_level], -1)
        chosen = self.chosen.unsqueeze(1).expand(-1, every.shape[1], -1)
        return every.gather(-1, chosen)

    def _means(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """(F, N, groups · A)"""
        parts = []
        if self.groups.categorical:
            parts.append(self._by_level(self.level_means, codes, self.groups.categorical))
        if self.groups.numeric:
            cells = torch.stack([numbers[..., place] for place in self.groups.numeric], -1)
            same = (cells.unsqueeze(-1) == self.values).float().unsqueeze(-1)  # (F, N, G, V, 1)
            parts.append((same * self.integer_means.unsqueeze(1)).sum(-2).flatten(2))
        scaled = (torch.cat(parts, -1) - self.group_center) / self.group_scale
        return scaled.clamp(-LARGEST_FEATURE, LARGEST_FEATURE)

    def _by_level(self, table: Tensor, codes: Tensor, columns: list[int]) -> Tensor:
        """(F, N, columns · A) of a table (F, T, A)."""
        folds, rows, outputs = table.shape
        if not columns:
            return table.new_zeros(folds, codes.shape[1], 0)
        level = torch.minimum(codes, self.unknown) + self.offsets
        level = torch.stack([level[..., place] for place in columns], -1)
        first = torch.arange(folds, device=codes.device).view(-1, 1, 1) * rows
        level = level + first  # (F, N, columns)
        found = table.flatten(0, 1).index_select(0, level.reshape(-1))
        return found.view(folds, level.shape[1], len(columns) * outputs)

    @torch.no_grad()
    def _of(self, numbers: Numbers, codes: Codes) -> Tensor:
        """(F, n, E), some rows at a time."""
        starts = range(0, len(numbers), CHUNK_ROWS)
        chunks = [
            self(*_tensors(numbers[start : start + CHUNK_ROWS], codes[start : start + CHUNK_ROWS]))
            for start in starts
        ]
        return torch.cat(chunks, 1) if chunks else torch.zeros(len(self.fill), 0, self.width)


class _Fold:
    """What is learnt of one fold: from all known rows, and for each part from the others."""

    def __init__(
        self,
        design: Design,
        rows: Codes,
        y: Numbers,
        groups: Groups,
        spaces: Sequence[str],
        seed: int,
        fold: int,
    ) -> None:
        known = KnownRows(design, rows, y, groups, seed, fold)
        self.rows = rows
        self.whole = known.learn()
        self.numbers, self.codes, self.width = known.numbers, known.codes, y.shape[1]
        # Of each part: its rows, their residuals, and what the others teach about them.
        self.parts = [
            (own, known.residuals(learnt, part), Extras([learnt], design, groups, spaces))
            for part in range(PARTS)
            if len(own := np.flatnonzero(known.part == part))
            for learnt in [known.learn(part)]
        ]

    @torch.no_grad()
    def explained(self, space: str) -> float:
        """The share of squared residuals that the mean of 16 neighbours explains."""
        left = total = 0.0
        for rows, residual, extras in self.parts:
            judged = slice(0, GATE_ROWS // PARTS)
            own = rows[judged]
            for start in range(0, len(own), CHUNK_ROWS):
                some = own[start : start + CHUNK_ROWS]
                asked = _tensors(self.numbers[some], self.codes[some])
                mean = extras.mean_residual(space, *asked)[0].double().numpy()
                truth = residual[judged][start : start + CHUNK_ROWS]
                left += float(((truth - mean) ** 2).sum())
                total += float((truth**2).sum())
        return 1 - left / total if total > 0 else 0.0

    def own(self, spaces: Sequence[str]) -> Tensor:
        """(r, E) features of the known rows, each without its part."""
        found = []
        for rows, _, extras in self.parts:
            for space in set(SPACES) - set(spaces):
                setattr(extras, space, None)
            found.append(extras._of(self.numbers[rows], self.codes[rows])[0])
        features = torch.cat(found)
        order = np.argsort(np.concatenate([rows for rows, _, _ in self.parts]))
        return features[torch.from_numpy(order)]


class _Own:
    """Training rows and their features, per fold. Copies go without: they serve or have other
    folds."""

    def __init__(self, rows: list[tuple[Codes, Tensor]]) -> None:
        self.rows = rows

    def __deepcopy__(self, memo: Any) -> _Own:
        return _Own([])


def _tensors(numbers: Numbers, codes: Codes) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(numbers)[None], torch.from_numpy(codes)[None]


def _most_frequent(y: Sequence[Numbers]) -> Codes:
    """The columns of y with the most rows above the mean, in their order."""
    counts = np.sum([(fold > 0).sum(0) for fold in y], axis=0)
    return np.sort(np.argsort(-counts, kind="stable")[:MOST_OUTPUTS])
