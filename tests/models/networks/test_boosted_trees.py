"""Boosted trees against LightGBM's own predictions, and the exported nodes against both."""

from __future__ import annotations

import copy
from typing import Any

import lightgbm
import numpy as np
import onnxruntime
import pytest
import torch
from exporting import Stacked, graph_of

from models.members import Member
from models.networks import build_network
from models.networks.boosted_trees import BoostedTrees, rounded_down
from models.networks.fitted import Problem
from models.networks.population import Shape, take
from models.spec import TrainingSpec

INPUTS = 5


ALL = {"column_share": 1.0, "row_share": 1.0}  # nothing at random


def network_of(members: int = 1, outputs: int = 1, **settings: Any) -> BoostedTrees:
    spec = TrainingSpec.model_validate(
        {
            "target": "price",
            "loss": settings.pop("loss", None),
            "architecture": {"type": "boosted_trees", "iterations": 20, "leaf_rows": 5, **ALL}
            | settings,
        }
    )
    built = [Member(0, spec, fold, 0) for fold in range(members)]
    network = build_network(built, Shape(INPUTS, INPUTS, outputs, tuple(range(INPUTS)), 300))
    assert isinstance(network, BoostedTrees)
    return network


def problem_of(seed: int = 0, rows: int = 300, outputs: int = 1) -> Problem:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, INPUTS)).astype(np.float32)
    x[:, -1] = rng.integers(0, 4, rows)
    y = x[:, 0] * np.sign(x[:, 1]) + 0.1 * rng.normal(size=rows)
    if outputs > 1:
        y = np.digitize(y, np.quantile(y, np.linspace(0, 1, outputs + 1)[1:-1])).astype(float)
    return Problem(x, y.astype(np.float64), None, outputs, seed)


def predicted(network: BoostedTrees, x: np.ndarray) -> np.ndarray:
    """(K, B, outputs) of rows that all members get."""
    rows = torch.from_numpy(x).expand(len(network.feature), -1, -1)
    return network.predict(rows).numpy()


def lightgbms(problem: Problem, **changed: Any) -> np.ndarray:
    """(B, outputs) raw scores of the training rows, straight from the library."""
    settings = {
        "num_leaves": 16,
        "learning_rate": 0.03,
        "min_data_in_leaf": 5,
        "seed": problem.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }
    data = lightgbm.Dataset(problem.x, problem.y, weight=problem.weights)
    booster = lightgbm.train(settings | changed, data, 20)
    scores = booster.predict(problem.x, raw_score=True)
    return np.asarray(scores).reshape(len(problem.x), -1)


@pytest.mark.parametrize(
    ("loss", "objective"),
    [("squared_error", "regression"), ("absolute_error", "regression_l1"), ("huber", "huber")],
)
def test_a_number_is_lightgbms(loss: str, objective: str) -> None:
    network, problem = network_of(loss=loss), problem_of()
    network.fit(0, problem)
    expected = lightgbms(problem, objective=objective)
    np.testing.assert_allclose(predicted(network, problem.x)[0], expected, atol=1e-6)
    assert np.corrcoef(expected[:, 0], problem.y)[0, 1] > 0.8


def test_two_classes_differ_by_the_score_of_the_second() -> None:
    network, problem = network_of(outputs=2), problem_of(outputs=2)
    network.fit(0, problem)
    first, second = predicted(network, problem.x)[0].T
    np.testing.assert_allclose(
        second - first, lightgbms(problem, objective="binary")[:, 0], atol=1e-6
    )


def test_three_classes_have_three_scores() -> None:
    network, problem = network_of(outputs=3), problem_of(outputs=3)
    network.fit(0, problem)
    expected = lightgbms(problem, objective="multiclass", num_class=3)
    np.testing.assert_allclose(predicted(network, problem.x)[0], expected, atol=2e-6)
    assert (expected.argmax(1) == problem.y).mean() > 0.8


def test_rows_of_weight_zero_teach_nothing() -> None:
    network, problem = network_of(), problem_of()
    halved = np.repeat([1.0, 0.0], 150)
    network.fit(0, Problem(problem.x, np.where(halved > 0, 1.0, -9.0), halved, 1, 0))
    np.testing.assert_allclose(predicted(network, problem.x), 1.0, atol=1e-6)


def test_the_same_problem_gives_the_same_bits() -> None:
    network = network_of(3)
    for place, seed in enumerate((0, 0, 1)):
        problem = problem_of()
        network.fit(place, Problem(problem.x, problem.y, None, 1, seed))
    for buffer in network.buffers():
        assert torch.equal(buffer[0], buffer[1])
    # All rows and columns are seen, so a seed changes nothing here.
    assert torch.equal(network.value[0], network.value[2])


def test_the_seed_chooses_the_columns_of_many() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 40)).astype(np.float32)
    spec = TrainingSpec.model_validate(
        {"target": "y", "architecture": {"type": "boosted_trees", "iterations": 5}}
    )
    network = BoostedTrees(2, Shape(40, 40, 1, tuple(range(40)), 200), spec)
    for seed in (0, 1):
        network.fit(seed, Problem(x, x[:, 0].astype(float), None, 1, seed))
    used = [{*network.feature[seed, 0].tolist()} - {-1} for seed in (0, 1)]
    assert used[0] != used[1]
    assert len(used[0]) <= 10  # a quarter of the columns


def test_thresholds_are_rounded_down() -> None:
    rng = np.random.default_rng(0)
    thresholds = np.concatenate([rng.normal(size=1000), [1e-35, -1e-35, 0.0, 1e12 + 0.5]])
    x = np.concatenate([thresholds.astype(np.float32), rounded_down(thresholds)])
    for sides in (np.nextafter(x, np.float32(-np.inf)), x, np.nextafter(x, np.float32(np.inf))):
        exact = np.tile(thresholds, 2)
        rounded = np.tile(rounded_down(thresholds), 2)
        assert ((sides <= exact) == (sides <= rounded)).all()


def test_a_float_on_a_threshold_goes_where_lightgbm_sends_it() -> None:
    """Neighbouring floats have a threshold between them that float32 doesn't hold."""
    network = network_of()
    x = np.full((300, INPUTS), 0.1, np.float32)
    x[150:, 0] = np.nextafter(np.float32(0.1), np.float32(1))
    y = np.repeat([-1.0, 1.0], 150)
    problem = Problem(x, y, None, 1, 0)
    network.fit(0, problem)
    found = predicted(network, x)[0]
    np.testing.assert_allclose(found, lightgbms(problem, objective="regression"), atol=1e-6)
    assert found[0] < found[-1]


HOSTILE: dict[str, Problem] = {
    "constant columns": Problem(np.ones((50, INPUTS), np.float32), np.arange(50.0), None, 1, 0),
    "one row": Problem(np.ones((1, INPUTS), np.float32), np.ones(1), None, 1, 0),
    "huge": Problem(
        np.random.default_rng(0).normal(size=(50, INPUTS)).astype(np.float32) * np.float32(1e12),
        np.arange(50.0),
        None,
        1,
        0,
    ),
    "constant y": Problem(problem_of().x, np.full(300, 2.5), None, 1, 0),
    "one class of two": Problem(problem_of().x, np.ones(300), None, 2, 0),
    "two classes of three": Problem(problem_of().x, problem_of(outputs=2).y * 2, None, 3, 0),
    "one class of three": Problem(problem_of().x, np.full(300, 2.0), None, 3, 0),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tables_give_finite_predictions(name: str) -> None:
    problem = HOSTILE[name]
    network = network_of(outputs=problem.outputs)
    network.fit(0, problem)
    asked = np.array([[0.0] * INPUTS, [1e12] * INPUTS, [-1e12] * INPUTS], np.float32)
    found = predicted(network, asked)[0]
    assert np.isfinite(found).all()
    if problem.outputs > 1:
        assert (found.argmax(1) == problem.y.max()).all() or "two" in name
    elif name in ("one row", "constant y"):
        np.testing.assert_allclose(found, problem.y[0], atol=1e-6)


def test_another_fit_leaves_nothing_of_the_first() -> None:
    network, fresh = network_of(), network_of()
    network.fit(0, problem_of())
    for each in (network, fresh):
        each.fit(0, HOSTILE["one row"])
    for old, new in zip(network.buffers(), fresh.buffers(), strict=True):
        assert torch.equal(old, new)


def test_predictions_follow_the_state() -> None:
    """The cached session belongs to the trees it was made of."""
    network = network_of(2)
    for place in range(2):
        network.fit(place, problem_of(place))
    x = problem_of(5).x
    both = predicted(network, x)
    assert not np.array_equal(both[0], both[1])
    assert np.array_equal(predicted(take(network, torch.tensor([1])), x)[0], both[1])
    assert np.array_equal(predicted(copy.deepcopy(network), x), both)
    loaded = network_of(2)
    assert not predicted(loaded, x).any()
    loaded.load_state_dict(network.state_dict())
    assert np.array_equal(predicted(loaded, x), both)
    network.fit(0, problem_of(1))
    assert np.array_equal(predicted(network, x)[0], both[1])


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_the_exported_graph_predicts_the_same(outputs: int) -> None:
    parts = [network_of(2, outputs), network_of(1, outputs, iterations=3)]
    for part, place in ((parts[0], 0), (parts[0], 1), (parts[1], 0)):
        part.fit(place, problem_of(place, outputs=outputs))
    served = Stacked([*parts], [2, 1])
    graph = graph_of(served, INPUTS)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    assert {node.op_type for node in graph.graph.node if node.domain} == {"TreeEnsembleRegressor"}
    for rows in (1, 2, 300):
        x = problem_of(9, rows).x.astype(np.float64)
        (found,) = session.run(None, {"rows": x})
        assert found.shape == (3, rows, outputs)
        np.testing.assert_allclose(found, served(torch.from_numpy(x)).numpy(), atol=1e-6)
