"""Which points a sweep tries."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from statistics import fmean
from typing import Any

import pytest

from models.spec import TrainingSpec
from models.spec.sweep import SweepSpec
from models.sweeps.covering import Covering
from models.sweeps.sampling import STARTING_TRIALS, Known, draw
from models.sweeps.space import Point, Space

MIXED = {
    "architecture": {
        "choices": [
            {"type": "mlp"},
            {"type": "tabm", "numeric_embedding": {"type": "piecewise_linear"}},
            {"type": "boosted_trees"},
        ]
    },
    "optimizer.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "dropout": {"low": 0.0, "high": 0.6, "step": 0.1},
    "architecture.hidden_sizes": {"choices": [[8], [8, 8], [64, 64]]},
    "architecture.iterations": {"low": 10, "high": 2000, "log": True},
    "max_epochs": [
        {"low": 5, "high": 10, "architectures": ["mlp"]},
        {"low": 20, "high": 60, "step": 20, "architectures": ["tabm"]},
    ],
}
FEW = {"dropout": {"choices": [0.0, 0.1, 0.2]}, "batch_size": {"choices": [16, 32, 64, 128]}}
SAMPLERS = ["random", "tpe", "grid"]


def space_of(search_space: Any, **sweep: Any) -> Space:
    return Space.of(SweepSpec.model_validate({"search_space": search_space, **sweep}), "price")


def drawn(space: Space, sampler: Any, first: int, count: int, **given: Any) -> list[Point]:
    return draw(
        space,
        sampler,
        **{"seed": 0, "first": first, "count": count, "known": [], "minimize": True, **given},
    )


def loss(point: Point) -> float:
    """Best near a rate of 1e-2 and a dropout of 0.2, in a network."""
    if "dropout" not in point:
        return 3.0
    rate = point.get("optimizer.learning_rate", 1e-2)
    return abs(math.log10(rate) + 2) + 5 * abs(point["dropout"] - 0.2)


def swept(
    space: Space, sampler: Any, *, trials: int, batch: int, sign: float = 1.0, seed: int = 0
) -> list[Known]:
    """A sweep in batches, with a loss instead of training."""
    known: list[Known] = []
    for first in range(0, trials, batch):
        points = drawn(space, sampler, first, batch, known=known, minimize=sign > 0, seed=seed)
        known += [
            Known(first + place, point, sign * loss(point), "succeeded")
            for place, point in enumerate(points)
        ]
    return known


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_points_are_specs(sampler: str) -> None:
    space = space_of(MIXED)
    known = swept(space, sampler, trials=48, batch=12)
    for trial in known:
        assert json.loads(json.dumps(trial.point)) == trial.point
        spec = TrainingSpec.model_validate(space.document(trial.point))
        architecture = trial.point["architecture"]["type"]
        is_tree = architecture == "boosted_trees"
        assert ("architecture.iterations" in trial.point) == is_tree
        assert ("dropout" in trial.point) != is_tree
        if architecture == "mlp":
            assert 5 <= spec.max_epochs <= 10
        if architecture == "tabm":
            assert spec.max_epochs in (20, 40, 60)
    assert {trial.point["architecture"]["type"] for trial in known[:STARTING_TRIALS]} == {
        "mlp",
        "tabm",
        "boosted_trees",
    }


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_input_gives_the_same_points(sampler: str) -> None:
    space = space_of(FEW if sampler == "grid" else MIXED)
    known = swept(space, "random", trials=12, batch=12)
    again = [drawn(space, sampler, 12, 6, known=known) for _ in range(2)]
    assert again[0] == again[1]
    assert drawn(space, sampler, 12, 6, known=known, seed=1) != again[0]


@pytest.mark.parametrize(("sampler", "given"), [("random", MIXED), ("random", FEW), ("grid", FEW)])
def test_a_number_has_its_point_in_any_batch(sampler: str, given: Any) -> None:
    space = space_of(given)
    whole = drawn(space, sampler, 0, 12)
    assert whole == [drawn(space, sampler, number, 1)[0] for number in range(12)]
    assert whole[5:9] == drawn(space, sampler, 5, 4)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_few_combinations_are_tried_once_each(sampler: str) -> None:
    space = space_of(FEW, sampler=sampler)
    assert space.trials == 12
    known: list[Known] = []
    for first in range(0, 12, 3):
        points = drawn(space, sampler, first, 3, known=known)
        known += [
            Known(first + place, point, loss(point), "succeeded")
            for place, point in enumerate(points)
        ]
    assert len({repr(trial.point) for trial in known}) == 12


def test_a_grid_is_in_an_order_of_its_seed() -> None:
    space = space_of(FEW, sampler="grid")
    orders = [drawn(space, "grid", 0, 12, seed=seed) for seed in range(2)]
    assert orders[0] != orders[1]
    assert sorted(map(repr, orders[0])) == sorted(map(repr, orders[1]))


def test_tpe_begins_evenly_and_goes_on_where_it_was_good() -> None:
    space = space_of(MIXED)
    assert drawn(space, "tpe", 0, STARTING_TRIALS) == drawn(space, "random", 0, STARTING_TRIALS)
    late: dict[str, list[float]] = {}
    for sampler in ("tpe", "random"):
        late[sampler] = [
            trial.value or 0.0
            for seed in range(3)
            for trial in swept(space, sampler, trials=48, batch=4, seed=seed)[24:]
        ]
    assert fmean(late["tpe"]) < 0.75 * fmean(late["random"])


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_architectures_take_turns_for_a_blend(sampler: str) -> None:
    """The best alone, here tabm, would have most trials of tpe; ridge has a single point."""
    hosts = [{"type": "mlp"}, {"type": "tabm"}, {"type": "boosted_trees"}, {"type": "ridge"}]
    space = space_of({**MIXED, "architecture": {"choices": hosts}}, keep="blend")
    known = swept(space, sampler, trials=32, batch=4)
    types = Counter(trial.point["architecture"]["type"] for trial in known)
    assert types["ridge"] == 1
    assert min(types["mlp"], types["tabm"], types["boosted_trees"]) >= 8
    assert len({json.dumps(trial.point, sort_keys=True) for trial in known}) == 32


def test_tpe_takes_the_largest_where_that_is_best() -> None:
    space = space_of(MIXED)
    up, down = (swept(space, "tpe", trials=32, batch=4, sign=sign) for sign in (-1.0, 1.0))
    assert [trial.point for trial in up] == [trial.point for trial in down]


def test_points_of_a_batch_and_running_trials_keep_others_away() -> None:
    """Without the liar, the points of a batch would crowd where the best trial is."""
    space = space_of({"weight_decay": {"low": 0.0, "high": 1.0}})
    points = [{"weight_decay": place / 20} for place in range(21)]
    known = [
        Known(number, point, abs(point["weight_decay"] - 0.5), "succeeded")
        for number, point in enumerate(points)
    ]
    batch = [point["weight_decay"] for point in drawn(space, "tpe", 21, 8, known=known)]
    assert len({*batch}) == 8
    running = [Known(21 + place, {"weight_decay": 0.5}, None, "running") for place in range(8)]
    away = drawn(space, "tpe", 29, 8, known=known + running)
    assert fmean(abs(point["weight_decay"] - 0.5) for point in away) > 0.5 * fmean(
        abs(value - 0.5) for value in batch
    )


def test_what_failed_teaches_nothing() -> None:
    space = space_of(MIXED)
    failed = [
        Known(number, point, value, "failed")
        for number, (point, value) in enumerate(
            zip(drawn(space, "random", 0, 40), [None, math.nan] * 20, strict=True)
        )
    ]
    endless = [Known(trial.number, trial.point, math.inf, "succeeded") for trial in failed]
    even = drawn(space, "random", 40, 4)
    assert drawn(space, "tpe", 40, 4, known=failed) == even
    assert drawn(space, "tpe", 40, 4, known=endless) == even


def test_points_cover_every_axis_evenly() -> None:
    """In 64 numbers each of 16 equal parts of an axis has 1 to 10, at random 0 to 15."""
    covering = Covering(50, seed=3)
    points = [covering.point(number) for number in range(64)]
    for axis in range(8):
        parts = [int(point[axis] * 16) for point in points]
        counts = [parts.count(part) for part in range(16)]
        assert 1 <= min(counts)
        assert max(counts) <= 10
    assert all(0 <= share < 1 for point in points for share in point)


def test_optuna_and_scipy_are_loaded_only_where_they_are_needed() -> None:
    """The API reads spaces and draws trials; scipy would cost it 83 MiB."""
    program = (
        "import sys\n"
        "from models.spec.sweep import SweepSpec\n"
        "from models.sweeps.sampling import draw\n"
        "from models.sweeps.space import Space\n"
        "sweep = SweepSpec(search_space={'dropout': {'low': 0.0, 'high': 0.5}})\n"
        "space = Space.of(sweep, 'price')\n"
        "draw(space, 'random', seed=0, first=0, count=8, known=[], minimize=True)\n"
        "assert 'optuna' not in sys.modules\n"
        "draw(space, 'tpe', seed=0, first=0, count=8, known=[], minimize=True)\n"
        "assert not {'torch', 'sklearn', 'scipy'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    swept(space_of(MIXED), "tpe", trials=16, batch=4)
    assert capfd.readouterr() == ("", "")
