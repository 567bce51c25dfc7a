"""Successive halving: which trials leave, and that the others fare as if they had been alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from houses import Case, house_frame, lay, trainer_of

from models.spec import TrainingSpec
from models.spec.sweep import Halving
from models.training.engine import TrainedPopulation
from models.training.halving import losers, rungs
from models.training.progress import Course, Interrupted, Monitor
from models.training.runs import train_many

HALVING = Halving(factor=3, min_epochs=2)
EPOCHS = 9
BASE: dict[str, Any] = {
    "architecture": {"type": "mlp", "hidden_sizes": [6]},
    "k_folds": 3,
    "batch_size": 8,
    "max_epochs": EPOCHS,
    "dropout": 0.0,
    "early_stopping": {"patience": EPOCHS, "fraction": 0.2},
}
# Two shapes; of the rates some are far too small to learn anything.
RATES = (1e-7, 1e-2, 1e-6, 3e-2, 1e-5, 1e-1, 3e-6, 1e-3, 3e-7)


class Questioned(Monitor):
    """Asks for a stop at one of the questions, and keeps checkpoints."""

    def __init__(self, stop_at: int | None = None, *, keeps: bool = False) -> None:
        self.saved: list[bytes] = []
        self._stop_at, self._keeps, self._asked = stop_at, keeps, 0

    def should_stop(self) -> bool:
        self._asked += 1
        return self._stop_at is not None and self._asked >= self._stop_at

    def keeps_best(self) -> bool:
        return self._keeps

    def checkpoint(self, make: Callable[[], bytes]) -> None:
        self.saved.append(make())


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return lay(tmp_path_factory.mktemp("halving"), house_frame(60), **BASE)


@pytest.fixture(scope="module")
def specs(case: Case) -> list[TrainingSpec]:
    changes = [
        {
            "optimizer": {"learning_rate": rate},
            "architecture": {"type": "mlp", "hidden_sizes": [6] if trial % 2 else [4, 3]},
        }
        for trial, rate in enumerate(RATES)
    ]
    return [TrainingSpec.model_validate(case.spec.model_dump() | change) for change in changes]


def train(
    case: Case,
    specs: Sequence[TrainingSpec],
    monitor: Monitor,
    *,
    cores: int = 1,
    checkpoints: Sequence[bytes] = (),
) -> list[TrainedPopulation]:
    return train_many(
        specs,
        case.design,
        case.folds,
        device=torch.device("cpu"),
        monitor=monitor,
        cores=cores,
        dtype=torch.float64,
        checkpoints=checkpoints,
        halving=HALVING,
    )


def epochs_of(trained: Sequence[TrainedPopulation]) -> list[int]:
    """Of each trial, the same in all of its folds."""
    found = [{course.epochs for course in population.courses} for population in trained]
    assert all(len(epochs) == 1 for epochs in found)
    return [epochs.pop() for epochs in found]


@pytest.mark.parametrize("cores", [1, 2])
def test_the_best_third_goes_on_after_each_rung(
    case: Case, specs: list[TrainingSpec], cores: int
) -> None:
    trained = train(case, specs, Questioned(), cores=cores)
    assert sorted(epochs_of(trained)) == [2] * 6 + [6] * 2 + [EPOCHS]
    # After two epochs, those with the three largest rates have learnt most.
    assert {trial for trial, epochs in enumerate(epochs_of(trained)) if epochs > 2} == {1, 3, 5}
    for population, epochs in zip(trained, epochs_of(trained), strict=True):
        ends = {course.stopped_by for course in population.courses}
        assert ends == {"max_epochs" if epochs == EPOCHS else "halving"}


def test_who_stays_and_who_leaves_has_the_weights_that_it_would_have_alone(
    case: Case, specs: list[TrainingSpec]
) -> None:
    trained = train(case, specs, Questioned())
    for trial, epochs in enumerate(epochs_of(trained)):
        trainer = trainer_of(case, torch.float64, [specs[trial]])
        alone = trainer.train(Monitor(), until=epochs)
        for name, weight in alone.network.state_dict().items():
            mine = trained[trial].network.state_dict()[name]
            torch.testing.assert_close(mine, weight, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("cores", "stop_at"), [(1, 2), (1, 6), (1, 10), (2, 6)])
def test_a_run_resumed_at_any_moment_drops_the_same_trials(
    case: Case, specs: list[TrainingSpec], cores: int, stop_at: int
) -> None:
    whole = train(case, specs, Questioned(), cores=cores)
    interrupted = Questioned(stop_at)
    with pytest.raises(Interrupted):
        train(case, specs, interrupted, cores=cores)
    resumed = train(case, specs, Questioned(), cores=cores, checkpoints=interrupted.saved[-1:])
    for one, other in zip(resumed, whole, strict=True):
        assert [course.stopped_by for course in one.courses] == [
            course.stopped_by for course in other.courses
        ]
        for name, weight in other.network.state_dict().items():
            assert torch.equal(one.network.state_dict()[name], weight)


def test_a_run_that_is_asked_for_its_best_weights_ends_at_once(
    case: Case, specs: list[TrainingSpec]
) -> None:
    trained = train(case, specs, Questioned(7, keeps=True))
    assert max(epochs_of(trained)) < EPOCHS
    assert {course.stopped_by for course in courses(trained)} <= {"keep_best", "halving"}


def test_trials_that_are_solved_take_no_part(case: Case, specs: list[TrainingSpec]) -> None:
    tree = TrainingSpec.model_validate(
        case.spec.model_dump()
        | {"architecture": {"type": "boosted_trees", "iterations": 5}, "early_stopping": None}
        | {"max_epochs": 1}
    )
    trained = train(case, [*specs[:3], tree], Questioned())
    assert epochs_of(trained)[:3] == [2, EPOCHS, 2]
    assert {course.stopped_by for course in trained[3].courses} == {"max_epochs"}


def test_ties_and_losses_that_are_not_finite() -> None:
    assert losers(HALVING, {0: 1.0, 1: 1.0, 2: 1.0}) == {1, 2}
    assert losers(HALVING, {0: float("inf"), 1: 2.0, 2: float("inf"), 3: 1.0}) == {0, 2}
    assert losers(HALVING, {7: 1.0}) == set()
    assert rungs(Halving(factor=2, min_epochs=10), 60) == [10, 20, 40]
    assert rungs(Halving(factor=2, min_epochs=10), 10) == []


def courses(trained: Sequence[TrainedPopulation]) -> list[Course]:
    return [course for population in trained for course in population.courses]
