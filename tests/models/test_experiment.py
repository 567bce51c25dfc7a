"""A training run from a stored table to the files of a model, with made-up callbacks."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from houses import Case, house_frame, lay
from runs import SHA256, FakeCallbacks, exported_as, start
from torch import Tensor

from app.jobs.results import LearningCurveOut
from models.experiment import (
    Outcome,
    Stopped,
    TrainingFailed,
)
from models.networks.population import Network, Noise
from models.objectives.regression.metrics import fold_metrics, regression_metrics
from models.report.report import write_report
from models.serving.manifest import Manifest
from models.serving.predictor import Predictor
from models.spec import Loss
from models.spec.training import Precision
from models.training.gradients import Gradients, gradients_of

SMALL: dict[str, Any] = {
    "architecture": {"type": "mlp", "hidden_sizes": [8]},
    "batch_size": 16,
    "max_epochs": 6,
    "optimizer": {"learning_rate": 0.02},
}
FILES = {
    "core.onnx",
    "model.onnx",
    "manifest.json",
    "weights.safetensors",
    "oof.parquet",
    "report.html",
    "charts.json",
    "roles.parquet",
}


def out_of_fold(outcome: Outcome) -> pd.DataFrame:
    return pd.read_parquet(outcome.artifacts["oof.parquet"])


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Some rows have no price, and some of the others are held out."""
    frame = house_frame()
    frame.loc[[3, 50, 102], "price"] = np.nan
    return lay(tmp_path_factory.mktemp("table"), frame, holdout={"fraction": 0.1}, **SMALL)


@pytest.fixture(scope="module")
def callbacks() -> FakeCallbacks:
    return FakeCallbacks()


@pytest.fixture(scope="module")
def outcome(
    case: Case, callbacks: FakeCallbacks, tmp_path_factory: pytest.TempPathFactory
) -> Outcome:
    return start(case, tmp_path_factory.mktemp("run"), callbacks)


def test_the_files_of_a_model(outcome: Outcome) -> None:
    assert outcome.artifacts.keys() == FILES
    for name, path in outcome.artifacts.items():
        assert path.name == name
        assert path.stat().st_size > 0


def test_every_row_with_a_price_is_scored_once(outcome: Outcome, case: Case) -> None:
    table = out_of_fold(outcome)
    assert table["row"].is_monotonic_increasing
    assert table["row"].is_unique
    held_out = case.holdout.rows
    assert set(table["row"]) == set(range(103)) - {3, 50, 102} - set(held_out)
    prices = pd.to_numeric(pd.Series(case.cells["price"].to_pylist()))
    assert table["actual"].tolist() == prices[table["row"]].tolist()


def test_the_metrics_follow_from_the_out_of_fold_file(outcome: Outcome) -> None:
    table = out_of_fold(outcome)

    def near(found: dict[str, Any]) -> dict[str, Any]:
        return {name: pytest.approx(value, rel=1e-9) for name, value in found.items()}

    actual, prediction = table["actual"].to_numpy(), table["prediction"].to_numpy()
    assert outcome.result["metrics"] == near(regression_metrics(actual, prediction))
    assert [fold["fold"] for fold in outcome.result["folds"]] == [0, 1, 2, 3, 4]
    for fold, rows in table.groupby("fold"):
        assert outcome.result["folds"][fold]["metrics"] == near(
            fold_metrics(
                rows["actual"].to_numpy(), rows["prediction"].to_numpy(), float(actual.var())
            )
        )
        assert outcome.result["folds"][fold]["rows_validation"] == len(rows)


def test_the_holdout_is_scored(outcome: Outcome) -> None:
    assert outcome.result["holdout"]["rows"] == 10
    for scored in (outcome.result["holdout"], outcome.result):
        assert scored["metrics"].keys() == scored["metrics_error"].keys()
        assert all(error > 0 for error in scored["metrics_error"].values())


def test_the_result_says_what_it_took(outcome: Outcome, case: Case) -> None:
    seconds = outcome.result["seconds"]
    assert seconds.keys() == {"prepare", "train", "evaluate", "export", "report", "total"}
    assert sum(seconds.values()) == pytest.approx(2 * seconds["total"], abs=0.01)
    receipt = outcome.result["receipt"]
    assert receipt["dataset_sha256"] == SHA256
    assert receipt["parquet_sha256"] == SHA256[::-1]
    assert receipt["seed"] == case.spec.seed
    assert receipt["device"] == "cpu"
    assert receipt["versions"]["torch"] == torch.__version__
    assert len(receipt["spec_sha256"]) == 64


def test_a_report_that_fails_leaves_the_model(
    case: Case, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported_as(monkeypatch, outcome)

    def write_report(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("models.experiment.write_report", write_report)
    without = start(case, tmp_path / "run")
    assert without.artifacts.keys() == FILES - {"report.html", "charts.json"}
    assert without.result["metrics"] == outcome.result["metrics"]
    assert without.result["warnings"][-1]["code"] == "report_missing"
    assert "(ZeroDivisionError)" in without.result["warnings"][-1]["detail"]


def test_the_result_is_json(outcome: Outcome) -> None:
    """As the database stores it: no NaN, no infinity, no numpy."""
    assert json.loads(json.dumps(outcome.result, allow_nan=False)) == outcome.result
    assert outcome.result.keys() == {
        "metrics",
        "metrics_error",
        "baselines",
        "comparison",
        "folds",
        "fold_mean",
        "fold_std",
        "holdout",
        "intervals",
        "diagnosis",
        "seconds",
        "receipt",
        "warnings",
    }


def test_the_model_prices_the_table_it_came_from(outcome: Outcome, case: Case) -> None:
    manifest = Manifest.model_validate_json(outcome.artifacts["manifest.json"].read_text())
    predictor = Predictor(outcome.artifacts["core.onnx"].read_bytes(), manifest)
    table = out_of_fold(outcome)
    members = predictor.predict_table(case.cells).members[table["fold"], table["row"]]
    np.testing.assert_allclose(members, table["prediction"], rtol=1e-4)
    assert manifest.metrics == outcome.result["metrics"]
    assert manifest.metrics_error == outcome.result["metrics_error"]
    assert manifest.receipt == outcome.result["receipt"]
    warned = [asdict(warning) for warning in manifest.warnings]
    assert warned == outcome.result["warnings"]
    assert "capacity_exceeds_data" in {warning["code"] for warning in warned}


def test_the_host_hears_of_every_epoch_of_every_fold(
    callbacks: FakeCallbacks, case: Case, outcome: Outcome
) -> None:
    epochs = {fold["fold"]: fold["epochs"] for fold in outcome.result["folds"]}
    expected = [(fold, epoch) for fold, last in epochs.items() for epoch in range(1, last + 1)]
    assert sorted((row.fold, row.epoch) for row in callbacks.rows) == expected
    for row in callbacks.rows:
        assert row.learning_rate == case.spec.optimizer.learning_rate
        assert row.train_loss is not None
        assert row.validation_loss is not None
    fractions = [progress.fraction for progress in callbacks.progress]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert callbacks.progress[0].eta_s is None
    assert callbacks.progress[0].folds_active == callbacks.progress[0].folds_total == 5
    assert all(p.eta_s is not None and p.eta_s >= 0 for p in callbacks.progress[1:])


def test_a_released_run_is_finished_by_the_next_attempt(
    case: Case, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the newest checkpoint that can be read, to the last bit."""
    first = FakeCallbacks("release", after=4)
    with pytest.raises(Stopped) as caught:
        start(case, tmp_path / "first", first)
    assert caught.value.reason == "release"
    assert list((tmp_path / "first").iterdir()) == []
    (checkpoint,) = first.saved

    with monkeypatch.context() as patch:
        patch.setattr("models.training.checkpoint.FORMAT", 0)
        other_format = FakeCallbacks("release", after=1)
        with pytest.raises(Stopped):
            start(case, tmp_path / "other", other_format)

    second = FakeCallbacks(earlier=[*other_format.saved, checkpoint])
    exported_as(monkeypatch, outcome)
    resumed = start(case, tmp_path / "second", second)
    assert second.rows[0].epoch > 1  # nothing was trained twice
    epochs = {(row.fold, row.epoch) for row in [*first.rows, *second.rows]}
    assert len(epochs) == len(first.rows) + len(second.rows)
    pd.testing.assert_frame_equal(out_of_fold(resumed), out_of_fold(outcome), check_exact=True)
    found, expected = (
        safetensors.torch.load_file(o.artifacts["weights.safetensors"]) for o in (resumed, outcome)
    )
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    for name in ("metrics", "folds", "holdout"):
        assert resumed.result[name] == outcome.result[name]


def test_a_run_interrupted_twice_draws_all_epochs(
    case: Case, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[bytes] = []
    for place in range(2):
        stopped = FakeCallbacks("release", after=2, earlier=saved)
        with pytest.raises(Stopped):
            start(case, tmp_path / f"stopped {place}", stopped)
        assert stopped.rows
        saved = stopped.saved[::-1]
    exported_as(monkeypatch, outcome)
    monkeypatch.setattr("models.experiment.write_report", write_report)
    last = FakeCallbacks(earlier=saved)
    resumed = start(case, tmp_path / "resumed", last)
    assert {row.epoch for row in last.rows}.isdisjoint({1, 2, 3, 4})
    charts = json.loads(resumed.artifacts["charts.json"].read_text())
    [table] = (chart["table"] for chart in charts if chart["name"] == "learning_curves")
    fold, epoch = (table["columns"].index(name) for name in ("fold", "epoch"))
    assert sorted((row[fold], row[epoch]) for row in table["rows"]) == [
        (f"fold {own['fold']}", each)
        for own in resumed.result["folds"]
        for each in range(1, own["epochs"] + 1)
    ]


def test_a_cancelled_run_stops(case: Case, tmp_path: Path) -> None:
    callbacks = FakeCallbacks("cancel", after=2)
    with pytest.raises(Stopped) as caught:
        start(case, tmp_path / "run", callbacks)
    assert caught.value.reason == "cancel"
    assert max(row.epoch for row in callbacks.rows) <= 2
    assert list((tmp_path / "run").iterdir()) == []


def test_a_run_that_is_to_keep_its_best_ends_with_a_model(case: Case, tmp_path: Path) -> None:
    """Of the epochs that have ended, and its folds say why there are no more."""
    callbacks = FakeCallbacks("keep_best", after=3)
    outcome = start(case, tmp_path / "run", callbacks)
    assert set(outcome.artifacts) == FILES
    folds = outcome.result["folds"]
    assert {fold["stopped_by"] for fold in folds} <= {"keep_best", "max_epochs"}
    assert "keep_best" in {fold["stopped_by"] for fold in folds}
    reached = {fold: max(r.epoch for r in callbacks.rows if r.fold == fold) for fold in range(5)}
    assert {fold["fold"]: fold["epochs"] for fold in folds} == reached
    model = Predictor(
        outcome.artifacts["core.onnx"].read_bytes(),
        Manifest.model_validate_json(outcome.artifacts["manifest.json"].read_bytes()),
    )
    assert all(map(math.isfinite, model.predict_table(case.cells).values))


def test_a_run_that_has_learnt_nothing_yet_keeps_nothing(case: Case, tmp_path: Path) -> None:
    with pytest.raises(Stopped) as caught:
        start(case, tmp_path / "run", FakeCallbacks("keep_best"))
    assert caught.value.reason == "cancel"


def test_a_damaged_table_is_named(case: Case, tmp_path: Path) -> None:
    """A bit that has flipped on the disk is not trained on."""
    data = bytearray(case.parquet.read_bytes())
    data[len(data) // 4] ^= 1
    damaged = tmp_path / "table.parquet"
    damaged.write_bytes(data)
    with pytest.raises(TrainingFailed, match=r"stored table cannot be read: .*; restore its file"):
        start(dataclasses.replace(case, parquet=damaged), tmp_path / "run")


# Runs that cannot give a model.


def diverging() -> tuple[pd.DataFrame, dict[str, Any]]:
    return house_frame(), {"optimizer": {"name": "sgd", "learning_rate": 1e6}}


def without_a_complete_row() -> tuple[pd.DataFrame, dict[str, Any]]:
    frame = house_frame()
    frame.loc[::2, "area"] = np.nan
    frame.loc[1::2, "stars"] = np.nan
    return frame, {"preprocessing": {"numeric_missing": "drop_rows"}}


def without_a_price_in_most_groups() -> tuple[pd.DataFrame, dict[str, Any]]:
    """The profile counts the groups of all rows."""
    frame = house_frame()
    frame["street"] = np.arange(len(frame)) % 6
    frame.loc[frame["street"] > 3, "price"] = np.nan
    return frame, {"folds": {"type": "group", "column": "street"}}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (diverging, "learning_rate"),
        (without_a_complete_row, "drop_rows"),
        (without_a_price_in_most_groups, "4 groups by 'street', and 5 folds"),
    ],
)
def test_a_run_that_cannot_give_a_model_says_what_to_change(
    tmp_path: Path, make: Callable[[], tuple[pd.DataFrame, dict[str, Any]]], words: str
) -> None:
    frame, spec = make()
    case = lay(tmp_path, frame, **(SMALL | spec))
    with pytest.raises(TrainingFailed, match=words):
        start(case, tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


# Members that fail.


def poison(monkeypatch: pytest.MonkeyPatch, *members: int) -> None:
    """Make these members' first gradient no number, and with it a weight after the first step."""
    populations = 0

    def poisoned(network: Network, loss: Loss, fold_of: Tensor, precision: Precision) -> Gradients:
        nonlocal populations
        populations += 1
        honest = gradients_of(network, loss, fold_of, precision)
        return Poisoned(honest, network, members) if populations == 1 else honest

    monkeypatch.setattr("models.training.step.gradients_of", poisoned)


class Poisoned:
    """Gradients of which the first ones are spoilt."""

    def __init__(self, honest: Gradients, network: Network, members: tuple[int, ...]) -> None:
        self._honest = honest
        self._weight = network.get_parameter("hidden.0.weight")
        self._ahead = list(members)

    def fill(self, x: Tensor, y: Tensor, share: Tensor, noise: Noise) -> Tensor:
        losses = self._honest.fill(x, y, share, noise)
        assert self._weight.grad is not None
        while self._ahead:
            self._weight.grad[self._ahead.pop(), 2, 3] = math.nan
        return losses


AT = "at step 2 (epoch 1) in the weights hidden.0.weight"


def troubles(outcome: Outcome) -> list[str]:
    return [
        finding["evidence"]
        for finding in outcome.result["diagnosis"]
        if finding["code"] == "numerical_trouble"
    ]


def test_folds_that_fail_are_left_out_of_the_model(
    case: Case, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have no metrics, and their rows are not scored; the others are as without them."""
    healthy, callbacks = outcome, FakeCallbacks()
    poison(monkeypatch, 1, 4)
    outcome = start(case, tmp_path / "run", callbacks)

    assert outcome.artifacts.keys() == FILES
    (trouble,) = troubles(outcome)
    assert f"2 of 5 members stopped being finite: fold 1 {AT}, fold 4 {AT};" in trouble
    for fold, expected in zip(outcome.result["folds"], healthy.result["folds"], strict=True):
        if fold["fold"] in (1, 4):
            assert fold["metrics"] == dict.fromkeys(expected["metrics"])
            assert (fold["epochs"], fold["best_epoch"]) == (1, 0)
            assert fold["stopped_by"] == "non_finite"
            assert fold["rows_validation"] == expected["rows_validation"]
        else:
            metrics = expected["metrics"]
            assert fold["metrics"] == {k: pytest.approx(metrics[k], rel=1e-4) for k in metrics}
    table, all_rows = out_of_fold(outcome), out_of_fold(healthy)
    assert table["row"].tolist() == all_rows.loc[~all_rows["fold"].isin([1, 4]), "row"].tolist()
    found = regression_metrics(table["actual"].to_numpy(), table["prediction"].to_numpy())
    assert outcome.result["metrics"] == {k: pytest.approx(v, rel=1e-9) for k, v in found.items()}
    means = outcome.result["fold_mean"]
    rmses = [outcome.result["folds"][fold]["metrics"]["rmse"] for fold in (0, 2, 3)]
    assert means["rmse"] == pytest.approx(np.mean(rmses))
    assert outcome.result["holdout"]["metrics"].keys() == found.keys()
    assert json.loads(json.dumps(outcome.result, allow_nan=False)) == outcome.result

    manifest = Manifest.model_validate_json(outcome.artifacts["manifest.json"].read_text())
    predictor = Predictor(outcome.artifacts["core.onnx"].read_bytes(), manifest)
    members = predictor.predict_table(case.cells).members
    assert members.shape == (3, 103)
    own = table["fold"].map({0: 0, 2: 1, 3: 2})
    np.testing.assert_allclose(members[own, table["row"]], table["prediction"], rtol=1e-4)

    of_failed = [row for row in callbacks.rows if row.fold in (1, 4)]
    assert [(row.epoch, row.train_loss, row.validation_loss) for row in of_failed] == [
        (1, None, None)
    ] * 2
    assert callbacks.progress[-1].fraction == 1.0
    assert {progress.folds_active for progress in callbacks.progress} == {3, 5}


def test_a_fold_of_which_one_member_fails_is_scored_by_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = lay(tmp_path, house_frame(), members_per_fold=2, **SMALL)
    poison(monkeypatch, 3)
    outcome = start(case, tmp_path / "run")
    (trouble,) = troubles(outcome)
    assert f"1 of 10 members stopped being finite: fold 1 {AT};" in trouble
    failed = outcome.result["folds"][1]
    assert failed["stopped_by"] == "non_finite"
    assert (failed["epochs"], failed["best_epoch"] > 0) == (6, True)
    assert all(value is not None for value in failed["metrics"].values())
    assert set(out_of_fold(outcome)["fold"]) == {0, 1, 2, 3, 4}
    manifest = Manifest.model_validate_json(outcome.artifacts["manifest.json"].read_text())
    predictor = Predictor(outcome.artifacts["core.onnx"].read_bytes(), manifest)
    members = predictor.predict_table(case.cells).members
    assert members.shape == (10, 103)
    np.testing.assert_array_equal(members[2], members[3])  # the other stands in


def test_a_run_of_which_all_members_fail_says_where_and_what_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = lay(tmp_path, house_frame(), members_per_fold=2, **SMALL)
    poison(monkeypatch, *range(10))
    with pytest.raises(TrainingFailed) as caught:
        start(case, tmp_path / "run")
    message = str(caught.value)
    assert (
        f"the numbers of all 10 members stopped being finite before their first epoch ended, {AT}. "
        in message
    )
    for advice in (
        "Lower optimizer.learning_rate",
        "optimizer.gradient_clip",
        "preprocessing.numeric_scaling",
        "architecture.initialization",
    ):
        assert advice in message
    assert list((tmp_path / "run").iterdir()) == []


def test_losses_that_are_no_numbers_are_none(tmp_path: Path) -> None:
    frame, spec = diverging()
    callbacks = FakeCallbacks()
    with pytest.raises(TrainingFailed):
        start(lay(tmp_path, frame, **(SMALL | spec)), tmp_path / "run", callbacks)
    assert any(row.train_loss is None for row in callbacks.rows)
    assert all(row.train_loss is None or math.isfinite(row.train_loss) for row in callbacks.rows)


def test_a_model_that_differs_from_its_scores_is_not_handed_on(
    case: Case, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.export.graph.TOLERANCE", -1.0)
    exported_as(monkeypatch, outcome)
    with pytest.raises(TrainingFailed, match="not registered"):
        start(case, tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_of_folds_in_time_the_last_prices(tmp_path: Path) -> None:
    """On a table with a trend: the mean over all folds would lag years behind."""
    chance = np.random.default_rng(0)
    day = np.arange(600)
    frame = pd.DataFrame({"area": chance.uniform(50, 150, 600), "day": day})
    noise = chance.normal(0, 0.05, 600)
    frame["price"] = np.exp(11 + 0.004 * frame["area"] + 0.0025 * day + noise)
    case = lay(
        tmp_path,
        frame,
        architecture={"type": "linear"},
        folds={"type": "time", "column": "day"},
        holdout={"fraction": 0.15},
        k_folds=5,
        max_epochs=60,
        optimizer={"learning_rate": 0.03},
        early_stopping=None,
    )
    outcome = start(case, tmp_path / "work")
    table = out_of_fold(outcome)
    assert table["row"].tolist() == list(range(510 - 5 * (510 // 6), 510))  # not the earliest
    assert table["fold"].is_monotonic_increasing
    assert outcome.result["metrics"]["r2"] is not None
    files = outcome.artifacts
    model = Predictor(
        files["core.onnx"].read_bytes(),
        Manifest.model_validate_json(files["manifest.json"].read_bytes()),
    )
    late = model.predict_table(case.cells.slice(510))
    np.testing.assert_allclose(late.values, late.members[-1])
    truth = frame["price"].to_numpy()[510:]
    error, of_the_mean = (
        regression_metrics(truth, prices)["rmsle"] for prices in (late.values, late.members.mean(0))
    )
    assert outcome.result["holdout"]["metrics"]["rmsle"] == pytest.approx(error, rel=1e-4)
    assert error is not None
    assert of_the_mean is not None
    assert error < 0.8 * of_the_mean


def with_curve(case: Case) -> Case:
    spec = case.spec.model_copy(update={"learning_curve": True})
    return dataclasses.replace(case, spec=spec)


def test_a_learning_curve_changes_nothing_else(
    case: Case, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported_as(monkeypatch, outcome)
    callbacks = FakeCallbacks()
    curved = start(with_curve(case), tmp_path / "run", callbacks)
    pd.testing.assert_frame_equal(out_of_fold(curved), out_of_fold(outcome), check_exact=True)
    curve = LearningCurveOut.model_validate(curved.result["learning_curve"])
    assert curve.skipped is None
    assert curve.forecast is not None
    last = curve.points[-1]
    assert last.error == pytest.approx(outcome.result["metrics"]["rmsle"], rel=0.01)
    assert curve.forecast.rows == 2 * last.rows
    assert len(callbacks.rows) == sum(fold["epochs"] for fold in outcome.result["folds"])
    fractions = [progress.fraction for progress in callbacks.progress]
    assert fractions == sorted(fractions)


def test_a_run_stopped_before_its_learning_curve_has_a_model_without_one(
    case: Case, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported_as(monkeypatch, outcome)
    asked = FakeCallbacks()
    start(case, tmp_path / "plain", asked)
    callbacks = FakeCallbacks("keep_best", after=-asked.left)
    stopped = start(with_curve(case), tmp_path / "run", callbacks)
    pd.testing.assert_frame_equal(out_of_fold(stopped), out_of_fold(outcome), check_exact=True)
    curve = LearningCurveOut.model_validate(stopped.result["learning_curve"])
    assert curve.skipped is not None
    assert curve.skipped.startswith("nothing was learned from")
