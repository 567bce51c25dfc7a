"""Which searched fields are said to matter."""

from __future__ import annotations

import math
import subprocess
import sys
import zlib
from collections.abc import Callable

import pytest

from models.spec.sweep import SweepSpec
from models.sweeps.importance import LEAST_TRIALS, importance
from models.sweeps.sampling import Known, draw
from models.sweeps.space import Point, Space

SPACE = Space.of(
    SweepSpec.model_validate(
        {
            "search_space": {
                "architecture": {"choices": [{"type": "mlp"}, {"type": "boosted_trees"}]},
                "optimizer.learning_rate": {"low": 1e-5, "high": 1e-1, "log": True},
                "dropout": {"low": 0.0, "high": 0.5},
                "architecture.iterations": {"low": 10, "high": 1000},
                "preprocessing.numeric_scaling": {"choices": ["standard", "robust"]},
                "optimizer.schedule": {"choices": ["cosine"]},
            }
        }
    ),
    "price",
)


def trials(loss: Callable[[Point], float], count: int = 80) -> list[Known]:
    points = draw(SPACE, "random", seed=0, first=0, count=count, known=[], minimize=True)
    return [Known(number, point, loss(point), "succeeded") for number, point in enumerate(points)]


def of_rates(point: Point) -> float:
    """Networks with a rate near 1e-3 are best, and trees are like bad networks."""
    if "dropout" not in point:
        return 2.0 + point["architecture.iterations"] / 1e6
    return abs(math.log10(point["optimizer.learning_rate"]) + 3) + 0.01 * point["dropout"]


def of_architectures(point: Point) -> float:
    """Trees are best, however many; networks differ by nothing that was searched."""
    return zlib.crc32(repr(point).encode()) % 97 / 97 + (5 if "dropout" in point else 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_what_decides_comes_first(sign: int) -> None:
    known = trials(lambda point: sign * of_rates(point))
    found = importance(SPACE, known, minimize=sign > 0)
    assert found[0].name == "optimizer.learning_rate"
    assert found[0].importance > 0.5
    assert sum(own.importance for own in found) == pytest.approx(1)
    assert {own.name for own in found} == {
        "architecture",
        "optimizer.learning_rate",
        "dropout",
        "architecture.iterations",
        "preprocessing.numeric_scaling",
    }


def test_the_architecture_counts_for_all_trials() -> None:
    found = {
        own.name: own.importance
        for own in importance(SPACE, trials(of_architectures), minimize=True)
    }
    assert max(found, key=found.__getitem__) == "architecture"
    assert found["dropout"] == found["optimizer.learning_rate"] == 0


def test_too_few_trials_say_nothing() -> None:
    known = trials(of_rates)
    assert importance(SPACE, known[: LEAST_TRIALS - 1], minimize=True) == []
    assert importance(SPACE, known[:LEAST_TRIALS], minimize=True)
    failed = [Known(own.number, own.point, None, "failed") for own in known]
    assert importance(SPACE, failed, minimize=True) == []


def test_equally_good_trials_say_nothing() -> None:
    assert importance(SPACE, trials(lambda _: 1.0), minimize=True) == []


def test_it_loads_no_scikit_learn() -> None:
    """The API answers it. The process could import it before, and can afterwards."""
    program = (
        "import sys\n"
        "from models.spec.sweep import SweepSpec\n"
        "from models.sweeps.importance import importance\n"
        "from models.sweeps.sampling import Known\n"
        "from models.sweeps.space import Space\n"
        "sweep = SweepSpec(search_space={'dropout': {'low': 0.0, 'high': 0.5}})\n"
        "space = Space.of(sweep, 'price')\n"
        "points = [{'dropout': place / 20} for place in range(10)]\n"
        "known = [Known(at, own, own['dropout'], 'succeeded') for at, own in enumerate(points)]\n"
        "assert importance(space, known, minimize=True)[0].importance == 1\n"
        "assert not {'sklearn', 'sklearn.ensemble', 'scipy', 'torch'} & {*sys.modules}\n"
        "import sklearn.ensemble\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
