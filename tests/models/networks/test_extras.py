"""Features from targets: what they are, and that no row sees its own target."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from houses import array_design
from plain_comparables import standardised
from sklearn.linear_model import Ridge

from models.data.design import Design, Vocabulary
from models.export.exporter import exported
from models.networks import extras as module
from models.networks.extras import Extras
from models.networks.population import take

STREETS = Vocabulary("street", [f"s{place}" for place in range(9)], numbers=False)
ROOFS = Vocabulary("roof", ["flat", "steep", "none"], numbers=False)
FORCED: dict[str, Any] = {"location": True, "attributes": True}


def table(rows: int, seed: int = 0) -> Design:
    """Latitude, longitude, rooms (8 to 50 integers), area with missing cells; street and roof."""
    rng = np.random.default_rng(seed)
    area = rng.normal(100, 30, rows)
    area[::7] = np.nan
    numbers = np.column_stack(
        [rng.uniform(47, 48, rows), rng.uniform(-122, -121, rows), rng.integers(1, 13, rows), area]
    )
    codes = np.column_stack([rng.integers(0, 9, rows), rng.integers(0, 3, rows)])
    design = array_design(numbers, codes, [STREETS, ROOFS])
    return replace(design, coordinates=(0, 1))


def folds_of(rows: int, folds: int, seed: int = 0) -> list[np.ndarray]:
    """Training rows."""
    parts = np.array_split(np.random.default_rng(seed).permutation(rows), folds)
    return [np.sort(np.setdiff1d(np.arange(rows), part)) for part in parts]


def standardise(target: np.ndarray, known: list[np.ndarray]) -> list[np.ndarray]:
    """(n, A) of each fold, from (rows,) or (rows, A)."""
    target = target.reshape(len(target), -1)
    return [(target[rows] - target[rows].mean(0)) / target[rows].std(0) for rows in known]


def forward(extras: Extras, design: Design, rows: Any = slice(None)) -> np.ndarray:
    numbers, codes = design.numbers[rows], design.codes[rows]
    found: np.ndarray = extras(torch.from_numpy(numbers)[None], torch.from_numpy(codes)[None])
    return np.asarray(found)


def target_of(design: Design, outputs: int = 1, noise: float = 0.3) -> np.ndarray:
    """(rows, outputs): smooth on the map, by street, and with rooms."""
    rng = np.random.default_rng(5)
    x, y, rooms = design.numbers[:, :3].T
    signal = np.sin(x * 12) * np.cos(y * 10) + 0.1 * rooms + rng.normal(size=9)[design.codes[:, 0]]
    drawn = rng.normal(size=(len(x), outputs))
    return signal[:, None] * np.arange(1, outputs + 1) ** 2 + noise * drawn


def one_hot(codes: np.ndarray, known: np.ndarray) -> np.ndarray:
    blocks = [np.eye(size)[codes[:, c]] for c, size in enumerate((9, 3))]
    every = np.concatenate(blocks, 1)
    every[:, ~every[known].any(0)] = 0
    return every


@pytest.mark.parametrize("outputs", [1, 2])
def test_features_are_those_of_a_plain_computation(outputs: int) -> None:
    design = table(260)
    known = folds_of(260, 3)[1]
    y = standardise(target_of(design, outputs), [known])[0]
    extras = Extras.learn(design, [known], [y], **FORCED)
    assert extras is not None
    numbers = np.where(
        np.isnan(design.numbers), np.nanmean(design.numbers[known], 0), design.numbers
    )
    center, scale = numbers[known].mean(0), np.nanstd(design.numbers[known], 0)
    scaled = (numbers - center) / scale
    levels = one_hot(design.codes, known)
    line = Ridge(alpha=1.0).fit(np.hstack([scaled, levels])[known], y)
    weights = line.coef_.reshape(outputs, -1).T
    residual = y - line.predict(np.hstack([scaled, levels])[known]).reshape(-1, outputs)

    shrink = np.array([1, np.cos(np.deg2rad(center[0]))])
    spread = np.sqrt(((scale[:2] * shrink) ** 2).mean())
    places = (numbers[:, :2] - center[:2]) * shrink / spread
    contributions = [scaled * np.sqrt((weights[:4] ** 2).sum(1) + 0.01)]
    contributions += [levels[:, :9] @ weights[4:13], levels[:, 9:] @ weights[13:]]
    attributes = np.hstack(contributions)
    means = []
    for column in (design.codes[:, 0], design.numbers[:, 2]):
        own, others = np.zeros((260, outputs)), np.zeros((len(known), outputs))
        for level in np.unique(column):
            same = column[known] == level
            own[column == level] = y[same].sum(0) / (same.sum() + 5)
            others[same] = (y[same].sum(0) - y[same]) / (same.sum() + 4)
        means.append(np.clip((own - others.mean(0)) / others.std(0), -5, 5))
    expected = np.hstack(
        [
            standardised(places, places[known], residual, y),
            standardised(attributes, attributes[known], residual, y),
            *means,
        ]
    )
    found = forward(extras, design)[0]
    assert found.shape == expected.shape == (260, extras.width)
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_rows_own_target_never_moves_its_own_features(outputs: int) -> None:
    design = table(150)
    known = folds_of(150, 3)
    target = target_of(design, outputs)

    def features(changed: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Of all rows, and of all as if they were new."""
        y = [fold.copy() for fold in standardise(target, known)]
        for rows, fold in zip(known, y, strict=True):
            fold[np.isin(rows, changed)] += 3.0
        extras = Extras.learn(design, known, y, seed=4, **FORCED)
        assert extras is not None
        assert extras.used == ("location", "attributes", "group means")
        return extras.of_training(design), torch.from_numpy(forward(extras, design))

    before, as_new = features(np.empty(0, int))
    for row in np.random.default_rng(0).choice(150, 8, replace=False):
        after, as_new_after = features(np.array([row]))
        assert torch.equal(before[:, row], after[:, row])
        learned = [place for place, rows in enumerate(known) if row in rows]
        strange = [place for place in range(3) if place not in learned]
        assert torch.equal(as_new[strange], as_new_after[strange])
        # The others' features see it, and so would its own if it were compared with itself.
        assert not torch.equal(before[learned], after[learned])
        moved = (as_new[learned, row] != as_new_after[learned, row]).float().mean()
        assert moved > 0.5


def test_features_of_a_part_are_those_of_new_rows() -> None:
    """Learnt from the other four parts, a training row's features are the served function's."""
    design = table(150)
    known, y = np.arange(150), standardise(target_of(design), [np.arange(150)])[0]
    extras = Extras.learn(design, [known], [y], seed=4, **FORCED)
    assert extras is not None
    own = extras.of_training(design)[0]
    parts = module.KnownRows(design, known, y, extras.groups, 4, 0)
    rows = np.flatnonzero(parts.part == 2)
    others = Extras([parts.learn(2)], design, extras.groups, module.SPACES)
    np.testing.assert_array_equal(own[rows], forward(others, design, rows)[0])
    assert parts.learn(2).values.shape[0] == 150 - len(rows) == 120


def test_rows_outside_a_fold_have_the_served_features() -> None:
    design, known = table(150), folds_of(150, 3)
    extras = Extras.learn(design, known, standardise(target_of(design), known), **FORCED)
    assert extras is not None
    everywhere, served = extras.of_training(design).numpy(), forward(extras, design)
    for place, rows in enumerate(known):
        others = np.setdiff1d(np.arange(150), rows)
        np.testing.assert_allclose(everywhere[place, others], served[place, others], atol=1e-5)
    with pytest.raises(ValueError, match="only the module"):
        take(extras, torch.tensor([0])).of_training(design)


def test_folds_can_be_taken() -> None:
    design = table(150)
    known = [np.arange(100), np.arange(40, 150), np.arange(20)]  # of unequal size
    extras = Extras.learn(design, known, standardise(target_of(design), known), **FORCED)
    assert extras is not None
    taken = take(extras, torch.tensor([2, 0]))
    np.testing.assert_allclose(forward(taken, design), forward(extras, design)[[2, 0]], atol=1e-5)


def test_the_graph_computes_the_same() -> None:
    design = table(400)
    known = folds_of(400, 3)
    known[2] = known[2][:50]
    extras = Extras.learn(design, known, standardise(target_of(design, 2), known), **FORCED)
    assert extras is not None
    rows = torch.export.Dim("N")
    graph = exported(
        extras,
        (torch.zeros(1, 2, 4, dtype=torch.float64), torch.zeros(1, 2, 2, dtype=torch.int64)),
        inputs=["numbers", "codes"],
        dynamic={"numbers": {1: rows}, "codes": {1: rows}},
    )
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    odd = np.array([np.nan, 0.0, 1e308, -1e308])[:, None].repeat(4, 1)
    numbers = np.concatenate([design.numbers[:60], odd])
    codes = np.concatenate([design.codes[:60], np.tile([9, 3], (4, 1))])
    for some in (slice(0, 1), slice(None)):
        asked = {"numbers": numbers[None, some], "codes": codes[None, some]}
        (found,) = session.run(None, asked)
        assert np.isfinite(found).all()
        expected = extras(*(torch.from_numpy(values) for values in asked.values()))
        np.testing.assert_allclose(found[:, :60], expected[:, :60], atol=1e-5)
        np.testing.assert_allclose(found, expected, atol=1e-4)  # far away all are about equally far


def score(design: Design, known: list[np.ndarray], y: np.ndarray, extra: Any = None) -> float:
    """Mean R² on validation rows of a ridge on the scaled numbers, levels and extras."""
    filled = np.where(np.isnan(design.numbers), np.nanmean(design.numbers, 0), design.numbers)
    scaled = (filled - filled.mean(0)) / filled.std(0)
    scores = []
    for place, rows in enumerate(known):
        x = np.hstack([scaled, one_hot(design.codes, rows)])
        if extra is not None:
            x = np.hstack([x, extra[place]])
        others = np.setdiff1d(np.arange(len(y)), rows)
        line = Ridge(alpha=1.0).fit(x[rows], y[rows])
        scores.append(line.score(x[others], y[others]))
    return float(np.mean(scores))


def test_noise_has_no_comparables() -> None:
    explained: list[list[float]] = []
    scores, as_bad = [], []
    for seed in range(20):
        design, known = table(150, seed), folds_of(150, 3, seed)
        noise = np.random.default_rng(100 + seed).normal(size=150)
        y = standardise(noise, known)
        judged = Extras.learn(design, known, y, seed=seed)
        assert judged is not None  # the means of groups
        explained.append([judged.explained["location"], judged.explained["attributes"]])
        assert (judged.used == ("group means",)) == (max(explained[-1]) <= 0.02)
        forced = Extras.learn(design, known, y, seed=seed, **FORCED)
        assert forced is not None
        scores.append(score(design, known, noise, forced.of_training(design).numpy()))
        drawn = np.random.default_rng(seed).normal(size=(3, 150, forced.width))
        as_bad.append(score(design, known, noise, drawn))
    assert np.mean(explained) < 0
    assert (np.array(explained) > 0.02).mean() < 0.1
    # Features that saw a row's own target would do more harm than so many random inputs: −0.64.
    assert np.mean(as_bad) + 0.1 < np.mean(scores) <= 0.01


def test_comparables_are_taken_where_a_map_tells_more_than_a_line() -> None:
    design, known = table(1_000), folds_of(1_000, 5)
    target = target_of(design)
    extras = Extras.learn(design, known, standardise(target, known))
    assert extras is not None
    assert extras.used == ("location", "group means")
    assert extras.explained["location"] > 0.3
    assert len(extras.names) == extras.width == 10 + 2
    extra = extras.of_training(design).numpy()
    assert score(design, known, target, extra) > score(design, known, target) + 0.15
    # A training row's features are spread like those of the rows that they will be used for.
    for place, rows in enumerate(known):
        others = np.setdiff1d(np.arange(1_000), rows)
        np.testing.assert_allclose(
            extra[place, rows].mean(0), extra[place, others].mean(0), atol=0.3
        )
        np.testing.assert_allclose(extra[place, rows].std(0), extra[place, others].std(0), atol=0.3)


def test_similar_rows_tell_what_a_line_cannot() -> None:
    design = replace(table(800), coordinates=None)
    known = folds_of(800, 5)
    rng = np.random.default_rng(1)
    x = np.nan_to_num(design.numbers[:, 3] - 100) / 30
    target = x + np.abs(x) * 2 + 0.3 * rng.normal(size=800)
    extras = Extras.learn(design, known, standardise(target, known), group_means=None)
    assert extras is not None
    assert extras.used == ("attributes",)
    extra = extras.of_training(design).numpy()
    assert score(design, known, target, extra) > score(design, known, target) + 0.1


def test_classes_have_features_each_for_the_most_frequent_eight() -> None:
    design, known = table(300), folds_of(300, 2)
    frequency = np.array([9, 1, 8, 7, 6, 5, 4, 3, 10, 2])  # of ten classes
    classes = np.random.default_rng(0).choice(10, 300, p=frequency / frequency.sum())
    indicators = np.eye(10)[classes]
    extras = Extras.learn(
        design, known, standardise(indicators, known), attributes=False, location=True
    )
    assert extras is not None
    assert extras.width == 7 * 8 + 3 + 2 * 8
    assert extras.of_training(design).shape == (2, 300, extras.width)
    counts = np.bincount(classes, minlength=10)
    y = standardise(indicators, known)
    assert set(module._most_frequent(y)) == set(np.argsort(-counts, kind="stable")[:8])


@pytest.mark.parametrize("rows", [1, 3, 6])
def test_few_rows(rows: int) -> None:
    design = table(40)
    known = [np.arange(rows), np.arange(5, 5 + rows)]
    y = [np.linspace(-1, 1, rows)[:, None] for _ in known]
    extras = Extras.learn(design, known, y, **FORCED)
    assert extras is not None
    assert np.isfinite(forward(extras, design)).all()
    assert extras.of_training(design).isfinite().all()
    Extras.learn(design, known, y)


def test_odd_columns() -> None:
    """Constant or missing coordinates, and a column without a number."""
    design = table(120)
    numbers = design.numbers.copy()
    numbers[:, 3] = np.nan
    numbers[::3, 0] = np.nan
    known = folds_of(120, 2)
    y = standardise(target_of(design), known)
    missing = replace(design, numbers=numbers)
    extras = Extras.learn(missing, known, y, **FORCED)
    assert extras is not None
    filled = numbers.copy()
    for place, rows in enumerate(known):
        filled[::3, 0] = np.nanmean(numbers[rows, 0])
        found = forward(extras, replace(design, numbers=filled))[place]
        np.testing.assert_allclose(found, forward(extras, missing)[place], atol=1e-4)
    numbers = design.numbers.copy()
    numbers[:, :2] = [47.5, -121.5]
    extras = Extras.learn(replace(design, numbers=numbers), known, y, **FORCED)
    assert extras is not None
    assert np.isfinite(forward(extras, design)).all()
    assert extras.of_training(replace(design, numbers=numbers)).isfinite().all()


def test_what_is_asked_for_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    design, known = table(200), folds_of(200, 2)
    y = standardise(target_of(design), known)

    def used(**asked: Any) -> tuple[str, ...] | None:
        extras = Extras.learn(design, known, y, **asked)
        return None if extras is None else extras.used

    assert used(location=False, attributes=False, group_means=None) is None
    assert used(location=False, attributes=False) == ("group means",)
    assert used(location=True, attributes=False, group_means=None) == ("location",)
    named = Extras.learn(design, known, y, location=False, attributes=False, group_means=["roof"])
    assert named is not None
    assert named.names == ("mean by roof",)
    assert used(group_means=None) == ("location",)
    monkeypatch.setattr(module, "MOST_ROWS", 199)
    assert used(group_means=None) is None
    assert used(attributes=True, group_means=None) == ("attributes",)
    nowhere = replace(design, coordinates=None)
    assert (
        Extras.learn(nowhere, known, y, location=True, attributes=False, group_means=None) is None
    )
