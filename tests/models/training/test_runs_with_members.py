"""Members of a blend train in one run: it resumes, keeps the best, and takes several lanes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from houses import Case, house_frame, lay

from models.evaluation.blend import blend
from models.members import Member
from models.training.engine import TrainedPopulation
from models.training.progress import Interrupted, MemberEpoch, Monitor
from models.training.runs import train_many

MEMBERS: list[dict[str, Any]] = [
    {"architecture": {"type": "mlp", "hidden_sizes": [8]}, "dropout": 0.3},
    {"architecture": {"type": "mlp", "hidden_sizes": [8]}, "dropout": 0.1, "weight_decay": 0.1},
    {"architecture": {"type": "boosted_trees", "iterations": 5}, "members_per_fold": 2},
    {"architecture": {"type": "kernel"}},
]
NETWORKS = range(2)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return lay(
        tmp_path_factory.mktemp("blend"),
        house_frame(60),
        members=MEMBERS,
        k_folds=2,
        batch_size=16,
        max_epochs=3,
        optimizer={"learning_rate": 0.02},
        features={"group_means": ["quarter"]},
    )


class Recorder(Monitor):
    """Stops after a number of reports, and keeps the last checkpoint."""

    def __init__(self, reports: int | None = None, *, keep_best: bool = False) -> None:
        self.left = reports
        self.keep_best = keep_best
        self.rows: list[MemberEpoch] = []
        self.fractions: list[float] = []
        self.saved = b""

    def epoch_ended(self, metrics: list[MemberEpoch], active: Sequence[Member]) -> None:  # noqa: ARG002
        self.rows += metrics
        if self.left is not None:
            self.left -= 1

    def progressed(self, fraction: float, epoch: int) -> None:  # noqa: ARG002
        self.fractions.append(fraction)

    def should_stop(self) -> bool:
        return self.left is not None and self.left <= 0

    def keeps_best(self) -> bool:
        return self.keep_best

    def checkpoint(self, make: Callable[[], bytes]) -> None:
        self.saved = make()


def run(
    case: Case, monitor: Monitor, *, cores: int = 1, checkpoints: Sequence[bytes] = ()
) -> list[TrainedPopulation]:
    return train_many(
        case.spec.trials(),
        case.design,
        case.folds,
        device=torch.device("cpu"),
        monitor=monitor,
        cores=cores,
        checkpoints=checkpoints,
    )


def assert_same(found: Sequence[TrainedPopulation], expected: Sequence[TrainedPopulation]) -> None:
    """To the last bit."""
    for one, other in zip(found, expected, strict=True):
        assert one.courses == other.courses
        for part in ("network", "encoder", "target"):
            state = getattr(one, part).state_dict()
            for name, value in getattr(other, part).state_dict().items():
                assert torch.equal(state[name], value), name


def assert_same_blend(
    case: Case, found: Sequence[TrainedPopulation], expected: Sequence[TrainedPopulation]
) -> None:
    assert_same(found, expected)
    one, told = blend(case.spec, found, case.design, case.folds)
    other, expected_told = blend(case.spec, expected, case.design, case.folds)
    assert one.weights is not None
    assert other.weights is not None
    assert torch.equal(one.weights, other.weights)
    assert told == expected_told


@pytest.fixture(scope="module")
def whole(case: Case) -> tuple[list[TrainedPopulation], Recorder]:
    monitor = Recorder()
    return run(case, monitor), monitor


def test_a_member_is_what_it_would_be_alone(
    case: Case, whole: tuple[list[TrainedPopulation], Recorder]
) -> None:
    for trial, spec in enumerate(case.spec.trials()):
        [alone] = train_many(
            [spec], case.design, case.folds, device=torch.device("cpu"), monitor=Monitor()
        )
        if trial in NETWORKS:  # in another batched product
            for name, value in alone.network.state_dict().items():
                found = whole[0][trial].network.state_dict()[name]
                torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-5)
        else:
            assert_same([whole[0][trial]], [alone])


def test_networks_alone_have_the_group_means(
    whole: tuple[list[TrainedPopulation], Recorder],
) -> None:
    extras = [population.extras for population in whole[0]]
    assert extras[0] is extras[1] is not None
    assert extras[2] is extras[3] is None


def test_a_seed_decides_every_bit(
    case: Case, whole: tuple[list[TrainedPopulation], Recorder]
) -> None:
    assert_same_blend(case, run(case, Recorder()), whole[0])
    spec = case.spec.model_copy(
        update={
            "members": [member.model_copy(update={"seed": 9}) for member in case.spec.members or ()]
        }
    )
    others = run(dataclasses.replace(case, spec=spec), Recorder())
    for place in NETWORKS:  # the others draw nothing
        assert others[place].courses != whole[0][place].courses


def test_two_lanes_do_what_one_does(
    case: Case, whole: tuple[list[TrainedPopulation], Recorder]
) -> None:
    monitor = Recorder()
    found = run(case, monitor, cores=2)
    assert_same(found[2:], whole[0][2:])
    for place in NETWORKS:
        for name, value in whole[0][place].network.state_dict().items():
            state = found[place].network.state_dict()[name]
            torch.testing.assert_close(state, value, rtol=1e-4, atol=1e-5)

    def told(recorder: Recorder) -> list[tuple[tuple[int, int, int], int]]:
        return sorted((row.member.place, row.epoch) for row in recorder.rows)

    assert told(monitor) == told(whole[1])


def test_progress_counts_every_member(whole: tuple[list[TrainedPopulation], Recorder]) -> None:
    fractions = whole[1].fractions
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)


# A report an epoch of the networks (both, of all folds), then one each fold of trees and kernel.
@pytest.mark.parametrize("reports", [1, 2, 3, 4, 5, 6])
def test_a_run_that_was_stopped_ends_with_the_same_bits(
    case: Case, whole: tuple[list[TrainedPopulation], Recorder], reports: int
) -> None:
    stopped = Recorder(reports)
    with pytest.raises(Interrupted):
        run(case, stopped)
    rest = Recorder()
    resumed = run(case, rest, checkpoints=[stopped.saved])
    assert_same_blend(case, resumed, whole[0])
    assert stopped.rows + rest.rows == whole[1].rows
    assert 0 < len(stopped.rows) < len(whole[1].rows)


def test_members_that_have_not_trained_are_left_out(case: Case) -> None:
    """Stopped among the trees: one fold's are solved, the other's are not."""
    trained = run(case, Recorder(4, keep_best=True))
    assert [course.best_epoch > 0 for course in trained[0].courses] == [True, True]
    assert not any(course.best_epoch for course in trained[3].courses)
    served, found = blend(case.spec, trained, case.design, case.folds)
    reasons = [member["left_out"] for member in found["blend"]["members"]]
    untrained = "the run was stopped before it had trained in all folds"
    assert reasons[2:] == [untrained] * 2
    assert None in reasons[:2]
    assert served.folds == [0, 1]
    assert len(served.parts) == reasons.count(None)
