"""Batches of trials, and the model that is made of what they left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classes import class_frame
from houses import Case, house_frame, lay
from runs import FakeCallbacks, context_of

from models import artifacts
from models.experiment import Outcome, Stopped, TrainingFailed, run
from models.serving.manifest import Manifest
from models.spec import TrainingSpec
from models.spec.sweep import Halving, SweepSpec
from models.sweeps.outcome import SweepOutcome
from models.trials.batch import BatchOutcome, Trial, train_batch
from models.trials.conclusion import Candidate, conclude
from models.trials.saved import Saved

BASE: dict[str, Any] = {
    "architecture": {"type": "mlp", "hidden_sizes": [8]},
    "k_folds": 3,
    "batch_size": 8,
    "max_epochs": 6,
    "dropout": 0.0,
    "baselines": [],
    "optimizer": {"learning_rate": 0.02},
}
CHANGES: list[dict[str, Any]] = [
    {},
    {"optimizer": {"name": "sgd", "learning_rate": 1e6}},
    {"architecture": {"type": "mlp", "hidden_sizes": [4]}},
    {"architecture": {"type": "ridge"}, "early_stopping": None, "max_epochs": 1},
]
SWEEP = SweepSpec(metric="rmse")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return lay(tmp_path_factory.mktemp("trials"), house_frame(90), **BASE)


@pytest.fixture(scope="module")
def trials(case: Case) -> list[Trial]:
    return [
        Trial(number, TrainingSpec.model_validate(case.spec.model_dump() | change))
        for number, change in enumerate(CHANGES)
    ]


@pytest.fixture(scope="module")
def batch(
    case: Case, trials: list[Trial], tmp_path_factory: pytest.TempPathFactory
) -> BatchOutcome:
    context = context_of(case, tmp_path_factory.mktemp("batch"))
    return train_batch(context, case.spec, trials)


def near(metrics: dict[str, float | None], tolerance: float) -> dict[str, Any]:
    return {
        name: None if value is None else pytest.approx(value, rel=tolerance)
        for name, value in metrics.items()
    }


def candidates(trials: Sequence[Trial], batch: BatchOutcome) -> list[Candidate]:
    return [
        Candidate(trial.number, trial.spec, row["bytes"], batch.artifacts[file])
        for trial, row in zip(trials, batch.rows, strict=True)
        if (file := artifacts.trial_file(trial.number)) in batch.artifacts
    ]


def test_a_batch_none_of_whose_trials_fits_finds_nothing(case: Case, tmp_path: Path) -> None:
    assert train_batch(context_of(case, tmp_path), case.spec, []).rows == []


def test_a_trial_scores_as_its_spec_does_as_a_job(
    case: Case, trials: list[Trial], batch: BatchOutcome, tmp_path: Path
) -> None:
    alone = run(context_of(replace(case, spec=trials[2].spec), tmp_path), trials[2].spec)
    assert batch.rows[2]["metrics"] == near(alone.result["metrics"], 1e-3)
    assert [fold["best_epoch"] for fold in batch.rows[2]["folds"]] == [
        fold["best_epoch"] for fold in alone.result["folds"]
    ]


def test_a_trial_that_diverges_says_so_and_the_others_go_on(batch: BatchOutcome) -> None:
    assert [row["state"] for row in batch.rows] == ["succeeded", "failed", "succeeded", "succeeded"]
    assert "stopped being finite at step" in batch.rows[1]["error"]
    assert sorted(batch.artifacts) == [artifacts.trial_file(number) for number in (0, 2, 3)]


def test_what_a_trial_left_predicts_every_row_once(case: Case, batch: BatchOutcome) -> None:
    saved = Saved.read(batch.artifacts[artifacts.trial_file(0)])
    assert saved.rows.raw.shape == (len(case.design), 1)
    assert saved.rows.predicted is None
    assert np.isfinite(saved.rows.prediction).all()
    errors = saved.rows.prediction - case.design.target
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(batch.rows[0]["metrics"]["rmse"], rel=1e-9)
    assert {epoch.fold for epoch in saved.epochs} == {0, 1, 2}
    assert len(saved.epochs) == sum(course.epochs for course in saved.courses)


def test_classes_are_kept_as_they_were_decided(tmp_path: Path) -> None:
    """The winner is found by the metric that the leaderboard shows, thresholds included."""
    spec = {**BASE, "target": "let", "decision": {"threshold": "f1"}, "dropout": 0.5}
    case = lay(tmp_path, class_frame(90).drop(columns="state"), **spec)
    found = train_batch(context_of(case, tmp_path / "batch"), case.spec, [Trial(0, case.spec)])
    [path], [row] = found.artifacts.values(), found.rows
    rows, actual = Saved.read(path).rows, case.design.target.astype(int)
    assert rows.predicted is not None
    assert (rows.predicted == actual).mean() == pytest.approx(row["metrics"]["accuracy"])
    assert (rows.predicted != rows.prediction.argmax(1)).any()


def test_large_numbers_that_vary_little_keep_their_digits(tmp_path: Path) -> None:
    frame = house_frame(60)
    frame["price"] = 1e12 + frame["price"].rank()
    case = lay(tmp_path, frame, **BASE, preprocessing={"target_transform": "none"})
    found = train_batch(context_of(case, tmp_path / "batch"), case.spec, [Trial(0, case.spec)])
    saved = Saved.read(*found.artifacts.values())
    error = np.sqrt(np.mean((saved.rows.prediction - case.design.target) ** 2))
    assert error == pytest.approx(found.rows[0]["metrics"]["rmse"], rel=1e-6)


def test_trials_of_another_version_make_no_model(
    case: Case,
    trials: list[Trial],
    batch: BatchOutcome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("models.training.checkpoint.FORMAT", 0)
    with pytest.raises(TrainingFailed, match="run the sweep again"):
        conclude(context_of(case, tmp_path), case.spec, SWEEP, candidates(trials, batch))


def test_a_batch_that_is_interrupted_goes_on_where_it_was(
    case: Case, trials: list[Trial], batch: BatchOutcome, tmp_path: Path
) -> None:
    callbacks = FakeCallbacks("release", after=12)
    with pytest.raises(Stopped):
        train_batch(context_of(case, tmp_path / "1", callbacks), case.spec, trials)
    resumed = FakeCallbacks(earlier=callbacks.saved[-1:])
    again = train_batch(context_of(case, tmp_path / "2", resumed), case.spec, trials)
    assert [row.get("metrics") for row in again.rows] == [row.get("metrics") for row in batch.rows]
    whole, other = (
        Saved.read(own.artifacts[artifacts.trial_file(0)]).epochs for own in (batch, again)
    )
    assert other == whole


def test_halving_ends_trials_early(case: Case, trials: list[Trial], tmp_path: Path) -> None:
    halving = Halving(factor=2, min_epochs=2)
    networks = [trials[0], trials[2]]
    found = train_batch(context_of(case, tmp_path), case.spec, networks, halving)
    epochs = [{fold["epochs"] for fold in row["folds"]} for row in found.rows]
    assert sorted(max(own) for own in epochs) == [2, BASE["max_epochs"]]


@pytest.fixture(scope="module")
def best(
    case: Case,
    trials: list[Trial],
    batch: BatchOutcome,
    tmp_path_factory: pytest.TempPathFactory,
) -> Outcome:
    context = context_of(case, tmp_path_factory.mktemp("best"))
    return conclude(context, case.spec, SWEEP, candidates(trials, batch))


def test_the_model_is_the_best_trial_with_its_very_numbers(
    batch: BatchOutcome, best: Outcome
) -> None:
    rows = [row for row in batch.rows if row["state"] == "succeeded"]
    winner = min(rows, key=lambda row: row["metrics"]["rmse"])
    sweep = best.result["sweep"]
    assert (sweep["best"], sweep["members"]) == (winner["number"], [winner["number"]])
    assert best.result["metrics"] == near(winner["metrics"], 1e-9)
    assert sweep["expected"]["naive"] == pytest.approx(winner["metrics"]["rmse"], rel=1e-9)
    manifest = Manifest.model_validate_json(best.artifacts[artifacts.MANIFEST].read_bytes())
    assert manifest.sweep == SweepOutcome.model_validate(sweep)


def test_a_blend_is_one_model_whose_error_is_its_own_out_of_fold(
    case: Case, trials: list[Trial], batch: BatchOutcome, tmp_path: Path
) -> None:
    blend = SWEEP.model_copy(update={"keep": "blend"})
    outcome = conclude(context_of(case, tmp_path), case.spec, blend, candidates(trials, batch))
    members = outcome.result["sweep"]["members"]
    assert 1 < len(members) == len(outcome.result["blend"]["members"])
    alone = min(row["metrics"]["rmse"] for row in batch.rows if row["state"] == "succeeded")
    assert outcome.result["metrics"]["rmse"] < 1.1 * alone
    assert outcome.artifacts[artifacts.ONNX].stat().st_size > 0
