"""The nearest known rows of a row, and what they say about its target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from models.data.design import Codes, Numbers

# How many neighbours have a mean each; the middle number has the gate's.
NEIGHBOURS = (4, 16, 64)
MOST = NEIGHBOURS[-1]
# Coordinate of padding, farther than any row.
FAR = 1e6
# Rows of a cell of the map, and cells that are searched: 64 rows lie in about ten of them.
CELL_ROWS = 64
CELLS_SEARCHED = 24
# A neighbour as far as the k-th has no weight, in spite of rounding, so it does not matter which
# of several such rows was found.
TIE = 1e-5
# Added to a sum of weights. Rows that are all equally far say nothing: their mean is 0.
NO_WEIGHT = 1e-2
# The logarithm of a distance stays finite.
NEAREST = 1e-3
# References from which the scale of the features is learnt, and how many at a time.
SCALE_ROWS = 1_024
CHUNK_ROWS = 256
# Standardised features are clipped here.
LARGEST_FEATURE = 5.0


class PlaneSearch(nn.Module):
    """Nearest references on a map: searches the CELLS_SEARCHED nearest boxes of CELL_ROWS. That is
    exact but for odd maps; a distance to every one of 17,000 references takes four times as long.

    Input: (F, N, 2). Output: places of references (F, N, k) in the order of `cells`, and distances,
    ascending.
    """

    cells: Tensor  # (F, C, 2 · CELL_ROWS) one coordinate of all rows, then the other
    low: Tensor  # (F, C, 2) of the boxes
    high: Tensor  # (F, C, 2)

    def __init__(self, placed: Numbers) -> None:
        """placed : (F, C · CELL_ROWS, 2) in the order of `cells_of`."""
        super().__init__()
        boxes = placed.reshape(len(placed), -1, CELL_ROWS, 2)
        high = np.where(boxes >= FAR, -FAR, boxes).max(2)
        cells = np.moveaxis(boxes, 3, 2).reshape(*boxes.shape[:2], -1)
        for name, values in (("cells", cells), ("low", boxes.min(2)), ("high", high)):
            self.register_buffer(name, torch.from_numpy(values.astype(np.float32)))

    def forward(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        cells = self._nearest_cells(queries)  # (F, N, M)
        x, y = _rows(self.cells, cells).split(CELL_ROWS, -1)  # (F, N, M, CELL_ROWS)
        x = x - queries[..., :1].unsqueeze(-1)
        y = y - queries[..., 1:].unsqueeze(-1)
        squares = (x * x + y * y).flatten(2)
        nearest, place = squares.topk(min(k, squares.shape[-1]), dim=-1, largest=False)
        cell = torch.div(place, CELL_ROWS, rounding_mode="floor")
        index = cells.gather(-1, cell) * CELL_ROWS + (place - cell * CELL_ROWS)
        return index, nearest.sqrt()

    def _nearest_cells(self, queries: Tensor) -> Tensor:
        away = []
        for axis in (0, 1):
            asked = queries[..., axis : axis + 1]  # (F, N, 1)
            low, high = (box[..., axis].unsqueeze(1) for box in (self.low, self.high))
            away.append(torch.maximum(low - asked, asked - high).clamp(min=0))
        squares = away[0] * away[0] + away[1] * away[1]  # (F, N, C)
        most = min(CELLS_SEARCHED, squares.shape[-1])
        return squares.topk(most, dim=-1, largest=False).indices


class ProductSearch(nn.Module):
    """Nearest references of all, by one matrix product. Its rounding errors matter among close
    rows, so the distances of the nearest ones are computed again.

    Input: (F, N, S). Output: places of references (F, N, k), and distances, ascending.
    """

    points: Tensor  # (F, R, S)

    def __init__(self, placed: Numbers) -> None:
        """placed : (F, R, S)"""
        super().__init__()
        self.register_buffer("points", torch.from_numpy(placed.astype(np.float32)))

    def forward(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        keys = torch.cat([-2 * self.points, (self.points**2).sum(-1, keepdim=True)], -1)
        asked = torch.cat([queries, torch.ones_like(queries[..., :1])], -1)
        about = asked @ keys.transpose(1, 2)  # (F, N, R)
        index = about.topk(min(k, about.shape[-1]), dim=-1, largest=False).indices
        away = _rows(self.points, index) - queries.unsqueeze(2)  # (F, N, k, S)
        nearest, order = (away * away).sum(-1).topk(index.shape[-1], dim=-1, largest=False)
        return index.gather(-1, order), nearest.sqrt()


class Comparables(nn.Module):
    """Means over the nearest 4, 16 and 64 references, weighted by 1 − distance / the k-th distance.

    They are standardised as the references' own features are, each computed from the others.

    Input: (F, N, S) float32. Output: (F, N, 7 A + 3): for each k the mean residual, then for each k
    the mean target, the spread of residuals among 16 (A each), and the logarithm of each k-th
    distance.
    """

    values: Tensor  # (F, R, 2 A) residuals and targets, in the order of the search
    center: Tensor  # (F, 1, 7 A + 3)
    scale: Tensor  # (F, 1, 7 A + 3), never 0

    def __init__(self, points: Sequence[Numbers], values: Sequence[Numbers]) -> None:
        """points : (r, S) of each fold; values : (r, 2, A) residuals and targets"""
        super().__init__()
        points = [fold.astype(np.float32).astype(np.float64) for fold in points]
        on_map = points[0].shape[1] == 2
        orders = [cells_of(fold) if on_map else np.arange(len(fold)) for fold in points]
        size = max(CELL_ROWS, *(len(order) for order in orders))
        orders = [np.append(order, np.full(size - len(order), -1)) for order in orders]
        placed = np.stack([_placed(p, o, FAR) for p, o in zip(points, orders, strict=True)])
        self.outputs = values[0].shape[2]
        flat = [fold.reshape(len(fold), 2 * self.outputs) for fold in values]
        shared = [_shared(p, v) for p, v in zip(points, flat, strict=True)]
        known = np.stack([_placed(v, o, 0.0) for v, o in zip(shared, orders, strict=True)])
        self.search = PlaneSearch(placed) if on_map else ProductSearch(placed)
        self.register_buffer("values", torch.from_numpy(known.astype(np.float32)))
        self.width = 7 * self.outputs + 3
        center, scale = self._own_scale(placed, orders)
        self.register_buffer("center", center)
        self.register_buffer("scale", scale)

    def forward(self, queries: Tensor) -> Tensor:
        features = (self._features(*self.search(queries, MOST)) - self.center) / self.scale
        return features.clamp(-LARGEST_FEATURE, LARGEST_FEATURE)

    def mean_residual(self, queries: Tensor) -> Tensor:
        """(F, N, A) of 16 neighbours, as it is."""
        features = self._features(*self.search(queries, MOST))
        return features[..., self.outputs : 2 * self.outputs]

    def _features(self, index: Tensor, distance: Tensor) -> Tensor:
        known = distance < FAR / 2
        distance = torch.where(known, distance, 0.0)
        values = _rows(self.values, index)  # (F, N, K, 2 A)
        # If there are fewer than k references, the k-th is the farthest.
        kth = torch.stack([distance[..., :k].amax(-1) for k in NEIGHBOURS], -1)  # (F, N, 3)
        relative = distance.unsqueeze(2) / kth.unsqueeze(-1).clamp(min=1e-12)
        weights = (1 - TIE - relative).clamp(min=0) * known.unsqueeze(2)  # (F, N, 3, K)
        total = weights.sum(-1, keepdim=True) + NO_WEIGHT
        residual, target = (weights @ values / total).split(self.outputs, -1)  # (F, N, 3, A)
        apart = values[..., : self.outputs] - residual[:, :, 1:2]
        spread = (weights[:, :, 1:2] @ (apart * apart) / total[:, :, 1:2]).sqrt()
        parts = [residual.flatten(2), target.flatten(2), spread.flatten(2), (kth + NEAREST).log()]
        return torch.cat(parts, -1)

    def _own_scale(self, placed: Numbers, orders: Sequence[Codes]) -> tuple[Tensor, Tensor]:
        """Mean and deviation of features of each fold's references, without themselves."""
        slots = [np.flatnonzero(order >= 0) for order in orders]
        counts = [min(SCALE_ROWS, len(own)) for own in slots]
        center = torch.zeros(len(placed), 1, self.width)
        scale = torch.ones(len(placed), 1, self.width)
        if min(counts) == 0:
            return center, scale
        # Some references, evenly in their order; a fold with fewer repeats its last one.
        even = [
            own[np.minimum(np.arange(max(counts)), count - 1) * len(own) // count]
            for own, count in zip(slots, counts, strict=True)
        ]
        asked = np.stack([p[own] for p, own in zip(placed, even, strict=True)])
        queries, own = torch.from_numpy(asked.astype(np.float32)), torch.from_numpy(np.stack(even))
        found = []
        for some, place in zip(queries.split(CHUNK_ROWS, 1), own.split(CHUNK_ROWS, 1), strict=True):
            index, distance = self.search(some, MOST + 1)
            found.append(self._without(index, distance, place.unsqueeze(-1)))
        for fold, (features, count) in enumerate(zip(torch.cat(found, 1), counts, strict=True)):
            spread = features[:count].std(0, correction=0)
            center[fold] = features[:count].mean(0)
            scale[fold] = torch.where(spread > 1e-6, spread, 1.0)
        return center, scale

    def _without(self, index: Tensor, distance: Tensor, own: Tensor) -> Tensor:
        """Features from all references found but one; if it was not found, the last one."""
        left_out = index == own
        left_out[..., -1] |= ~left_out.any(-1)
        order = left_out.to(torch.int8).argsort(dim=-1, stable=True)[..., :-1]
        return self._features(index.gather(-1, order), distance.gather(-1, order))


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """(F, N, K, W): rows `index` (F, N, K) of each fold's table (F, R, W)."""
    folds, rows, width = table.shape
    first = torch.arange(folds, device=index.device).view(-1, 1, 1) * rows
    found = table.flatten(0, 1).index_select(0, (index + first).reshape(-1))
    return found.view(*index.shape, width)


def cells_of(points: Numbers) -> Codes:
    """(C · CELL_ROWS,) rows of `points` (r, 2), cell by cell; −1 pads a cell."""
    cells: list[Codes] = []

    def split(rows: Codes, count: int) -> None:
        if count == 1:
            cells.append(np.append(rows, np.full(CELL_ROWS - len(rows), -1)))
            return
        axis = int(np.argmax(np.ptp(points[rows], axis=0)))
        rows = rows[np.argsort(points[rows, axis], kind="stable")]
        cut = len(rows) * (count // 2) // count
        split(rows[:cut], count // 2)
        split(rows[cut:], count - count // 2)

    split(np.arange(len(points)), max(1, -(-len(points) // CELL_ROWS)))
    return np.concatenate(cells)


def _placed(rows: Numbers, order: Codes, padding: float) -> Numbers:
    return np.append(rows, np.full((1, rows.shape[1]), padding), axis=0)[order]


def _shared(points: Numbers, values: Numbers) -> Numbers:
    """(r, V) means of the values of all rows at the same point. So it does not matter which of them
    are found."""
    if len(points) == 0:
        return values
    _, place, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    place = place.reshape(-1)
    sums = np.stack([np.bincount(place, column) for column in values.T], 1)
    shared: Numbers = (sums / counts[:, None])[place]
    return shared
