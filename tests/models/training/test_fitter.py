"""Members that are solved: what each is solved from, how it fails, and that a run resumes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classes import class_frame
from houses import Case, house_frame, lay

from models.members import Member, members_of
from models.networks.boosted_trees import BoostedTrees
from models.networks.fitted import FittedNetwork, Problem
from models.training.fitter import Fitter
from models.training.inputs import Inputs
from models.training.progress import Interrupted, MemberEpoch, Monitor

TREES = {"type": "boosted_trees", "iterations": 5, "leaf_rows": 5}
KINDS: list[dict[str, Any]] = [TREES, {"type": "kernel"}, {"type": "ridge"}]


class Recorder(Monitor):
    """Stops before the member after the first `members`, and keeps the last checkpoint."""

    def __init__(self, members: int | None = None) -> None:
        self.left = members
        self.rows: list[MemberEpoch] = []
        self.active: list[int] = []
        self.saved = b""

    def epoch_ended(self, metrics: list[MemberEpoch], active: Sequence[Member]) -> None:
        self.rows += metrics
        self.active.append(len(active))

    def should_stop(self) -> bool:
        return self.left is not None and len(self.rows) == self.left

    def checkpoint(self, make: Callable[[], bytes]) -> None:
        self.saved = make()


def laid(folder: Path, **spec: Any) -> Case:
    return lay(folder, house_frame(80), **{"architecture": TREES, "k_folds": 3, **spec})


def fitter_of(case: Case) -> Fitter:
    inputs = Inputs(case.spec, case.design, case.folds, torch.device("cpu"))
    return Fitter(members_of([case.spec]), inputs)


def network_of(fitter: Fitter) -> FittedNetwork:
    return fitter._network


def problems(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Problem]]:
    """Those that trees will be given, with the place of the member."""
    given: list[tuple[int, Problem]] = []
    solve = BoostedTrees.fit

    def fit(network: BoostedTrees, place: int, problem: Problem) -> None:
        given.append((place, problem))
        solve(network, place, problem)

    monkeypatch.setattr(BoostedTrees, "fit", fit)
    return given


@pytest.mark.parametrize("architecture", KINDS, ids=lambda kind: str(kind["type"]))
def test_each_is_solved_and_scored(tmp_path: Path, architecture: dict[str, Any]) -> None:
    case = laid(tmp_path, architecture=architecture, members_per_fold=2)
    fitter, monitor = fitter_of(case), Recorder()
    fitter.train(monitor)
    assert [row.member.place for row in monitor.rows] == [
        (0, fold, replica) for fold in range(3) for replica in range(2)
    ]
    assert monitor.active == [5, 4, 3, 2, 1, 0]
    inputs = Inputs(case.spec, case.design, case.folds, torch.device("cpu"))
    outputs = network_of(fitter).predict(
        inputs.encoder(
            *(torch.from_numpy(part)[None] for part in (case.design.numbers, case.design.codes)),
            None,
        ).repeat_interleave(2, 0)
    )
    for place, (row, course) in enumerate(zip(monitor.rows, fitter.courses, strict=True)):
        fold = case.folds[row.fold]
        target = inputs.target.standardize(torch.from_numpy(case.design.target).expand(3, -1))
        errors = (outputs[place, :, 0] - target[row.fold]).numpy() ** 2
        for rows, loss in ((fold.known, row.train_loss), (fold.validation, row.validation_loss)):
            assert loss == pytest.approx(errors[rows].mean(), rel=1e-4)
        assert row.validation_loss < 1
        assert (course.epochs, course.best_epoch, course.stopped_by) == (1, 1, "max_epochs")
        assert (course.first_loss, course.best_loss) == (row.train_loss, row.train_loss)


def test_it_learns_from_the_rows_of_its_fold_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from those that other members of a blend watch."""
    case = laid(
        tmp_path,
        members=[
            {"architecture": {"type": "mlp", "hidden_sizes": [8]}},
            {"architecture": TREES, "members_per_fold": 2},
        ],
    )
    trees = case.spec.trials()[1]
    inputs = Inputs(trees, case.design, case.folds, torch.device("cpu"))
    given = problems(monkeypatch)
    Fitter(members_of([trees]), inputs).train(Monitor())
    assert [place for place, _ in given] == [*range(6)]
    assert len({problem.seed for _, problem in given}) == 6
    for place, problem in given:
        fold = case.folds[place // 2]
        assert len(fold.watched) > 0
        learnt = np.log(case.design.target[fold.known])
        expected = (learnt - learnt.mean()) / learnt.std()
        np.testing.assert_allclose(np.sort(problem.y), np.sort(expected), atol=1e-5)
        assert problem.x.shape[0] == len(fold.known)
        assert problem.weights is None


def test_weights_of_classes_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = class_frame(90).drop(columns="let")
    case = lay(
        tmp_path,
        frame,
        target="state",
        architecture=TREES,
        class_weights={"good": 3.0},
        k_folds=2,
    )
    given = problems(monkeypatch)
    fitter_of(case).train(Monitor())
    good = case.design.levels.index("good")
    for _, problem in given:
        assert problem.outputs == 3
        assert problem.weights is not None
        ratio = problem.weights / np.where(problem.y == good, 3.0, 1.0)
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)


@pytest.mark.parametrize("architecture", KINDS, ids=lambda kind: str(kind["type"]))
@pytest.mark.parametrize("solved", [0, 1, 2])
def test_a_run_that_stopped_between_two_goes_on(
    tmp_path: Path, architecture: dict[str, Any], solved: int
) -> None:
    case = laid(tmp_path, architecture=architecture)
    whole, undisturbed = fitter_of(case), Recorder()
    whole.train(undisturbed)
    stopped, monitor = fitter_of(case), Recorder(solved)
    with pytest.raises(Interrupted):
        stopped.train(monitor)
    resumed, rest = fitter_of(case), Recorder()
    assert resumed.restore(monitor.saved)
    resumed.train(rest)
    assert monitor.rows == undisturbed.rows[:solved]
    assert rest.rows == undisturbed.rows[solved:]
    assert resumed.courses == whole.courses
    assert resumed.save() == whole.save()


def test_no_checkpoint_of_another_format_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitter = fitter_of(laid(tmp_path))
    saved = fitter.save()
    assert fitter.restore(saved)
    monkeypatch.setattr("models.training.checkpoint.FORMAT", "another")
    assert not fitter.restore(saved)


def test_a_member_without_a_solution_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One cannot be solved, the solution of another is no number."""
    case = laid(tmp_path)
    healthy, monitor = fitter_of(case), Recorder()
    healthy.train(monitor)
    solve = BoostedTrees.fit

    def fit(network: BoostedTrees, place: int, problem: Problem) -> None:
        if place == 0:
            raise ValueError("the rows")
        solve(network, place, problem)
        if place == 2:
            for buffer in network.buffers():
                if buffer.is_floating_point():
                    buffer[2] = math.nan

    monkeypatch.setattr(BoostedTrees, "fit", fit)
    fitter, after = fitter_of(case), Recorder()
    fitter.train(after)
    assert [course.stopped_by for course in fitter.courses] == [
        "non_finite",
        "max_epochs",
        "non_finite",
    ]
    assert [course.best_epoch for course in fitter.courses] == [0, 1, 0]
    assert [course.trouble and course.trouble.layer for course in fitter.courses] == [
        "the solution: the rows",
        None,
        "the solution",
    ]
    assert after.rows[1] == monitor.rows[1]
    assert fitter.courses[1] == healthy.courses[1]
