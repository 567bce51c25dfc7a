"""The nearest known rows, against sorting all distances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from plain_comparables import plain_features, standardised

from models.networks.comparables import MOST, Comparables, PlaneSearch, ProductSearch, cells_of

RESIDUALS, SPREAD = slice(0, 3), 6


def learnt(points: np.ndarray, values: np.ndarray) -> Comparables:
    """Of one fold with targets (r,), which are the residuals too."""
    return Comparables([points], [np.stack([values, values], 1)[..., None]])


def raw(comparables: Comparables, queries: np.ndarray) -> np.ndarray:
    asked = torch.from_numpy(queries.astype(np.float32))[None]
    found: np.ndarray = comparables._features(*comparables.search(asked, MOST))[0].numpy()
    return found


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("rows", [[90, 300], [7, 2]])
def test_features_are_those_of_a_plain_loop(width: int, rows: list[int]) -> None:
    """With fewer rows than neighbours too, in folds of unequal size."""
    rng = np.random.default_rng(width)
    folds = [rng.normal(size=(count, width)).astype(np.float32) for count in rows]
    values = [rng.normal(size=(count, 2, 2)) for count in rows]
    queries = rng.normal(size=(30, width)).astype(np.float32)
    asked = torch.from_numpy(queries).expand(2, -1, -1)
    comparables = Comparables(folds, values)
    found = comparables._features(*comparables.search(asked, MOST)).numpy()
    assert found.shape == (2, 30, comparables.width) == (2, 30, 17)
    for fold in range(2):
        known = values[fold][:, 0], values[fold][:, 1]
        expected = [plain_features(query, folds[fold], *known) for query in queries]
        np.testing.assert_allclose(found[fold], expected, atol=2e-5)
        if rows[fold] >= 90:
            expected = standardised(queries, folds[fold], *known)
            np.testing.assert_allclose(comparables(asked)[fold], expected, atol=1e-4)


def test_a_map_of_many_cells_has_the_same_neighbours() -> None:
    """Towns of houses close together, an empty land between them, and rows far off the map."""
    rng = np.random.default_rng(0)
    towns = rng.normal(size=(40, 2)) * 2
    size = rng.choice([0.001, 0.05, 0.5], 40)[:, None]
    town = rng.integers(0, 40, 6_000)
    points = (towns[town] + rng.normal(size=(6_000, 2)) * size[town]).astype(np.float32)
    queries = np.concatenate([points[:300], rng.normal(size=(200, 2)) * 2, [[50, 3], [-90, 90]]])
    asked = torch.from_numpy(queries.astype(np.float32))[None]
    order = cells_of(points)
    placed = np.where(order[:, None] < 0, 1e6, points[order])
    index, distance = PlaneSearch(placed[None])(asked, 64)
    everywhere, expected = ProductSearch(points.astype(float)[None])(asked, 64)
    full = np.sort(np.sqrt(((points - asked[0].numpy()[:, None]) ** 2).sum(-1)), axis=1)[:, :64]
    np.testing.assert_allclose(distance[0], full, atol=1e-6, rtol=1e-6)
    near = ((points[order[index[0]]] - asked[0].numpy()[:, None]) ** 2).sum(-1) ** 0.5
    np.testing.assert_allclose(near, full, atol=1e-6, rtol=1e-6)
    assert everywhere.shape == expected.shape == (1, 502, 64)


def test_cells_hold_each_row_once() -> None:
    rng = np.random.default_rng(1)
    for rows in (0, 1, 64, 65, 1_000):
        order = cells_of(rng.normal(size=(rows, 2)))
        assert len(order) % 64 == 0
        assert sorted(order[order >= 0]) == list(range(rows))


def test_rows_at_one_place_share_their_values() -> None:
    """So it does not matter which of a hundred flats in one house are found."""
    points = np.repeat(np.arange(3.0)[:, None] * [1.0, 0.0], 100, axis=0)
    values = np.random.default_rng(2).normal(size=300)
    found = raw(learnt(points, values), np.array([[1.0, 0.0]]))[0]
    np.testing.assert_allclose(found[RESIDUALS], values[100:200].mean(), atol=1e-2)
    assert found[SPREAD] == pytest.approx(0, abs=1e-2)
    assert found[-3:] == pytest.approx(np.log(1e-3))


def test_rows_that_are_all_equally_far_say_nothing() -> None:
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    found = raw(learnt(circle, np.ones(200)), np.zeros((1, 2)))[0]
    assert found[RESIDUALS].tolist() == [0, 0, 0]
    assert found[-3:] == pytest.approx(0, abs=2e-3)


def test_a_far_row_has_no_features_beyond_the_clip() -> None:
    rng = np.random.default_rng(3)
    comparables = learnt(rng.normal(size=(200, 2)), rng.normal(size=200))
    found = comparables(torch.full((1, 1, 2), 100.0))
    assert found.abs().max() == 5
