"""Training runs of classes, from a stored table to the files of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from houses import Case, house_frame, lay
from runs import FakeCallbacks, exported_as, start

from models.experiment import Outcome, Stopped
from models.export.graph import session
from models.objectives.classification.levels import OTHER
from models.serving.manifest import MEMBERS, Manifest
from models.serving.predictor import Predictor

SMALL: dict[str, Any] = {
    "architecture": {"type": "mlp", "hidden_sizes": [8]},
    "batch_size": 16,
    "max_epochs": 6,
    "optimizer": {"learning_rate": 0.02},
    "k_folds": 3,
}


def frame_of(rows: int = 120) -> pd.DataFrame:
    frame = house_frame(rows)
    rank = frame["price"].rank(pct=True)
    frame["price"] = np.select([rank < 0.2, rank < 0.7], ["low", "middle"], "high")
    frame.loc[[3, 50], "price"] = None
    return frame


def predictor_of(outcome: Outcome) -> Predictor:
    manifest = Manifest.model_validate_json(outcome.artifacts["manifest.json"].read_text())
    return Predictor(outcome.artifacts["core.onnx"].read_bytes(), manifest)


def out_of_fold(outcome: Outcome) -> pd.DataFrame:
    return pd.read_parquet(outcome.artifacts["oof.parquet"])


def assert_the_model_is_the_scored_one(outcome: Outcome, case: Case) -> None:
    """Each row by the members of its own fold."""
    table, levels, design = out_of_fold(outcome), case.design.levels, case.design
    core = session(outcome.artifacts["core.onnx"].read_bytes())
    inputs = {"numbers": design.numbers, "codes": design.codes}
    [members] = core.run([MEMBERS], inputs)  # (K, n, C)
    by_fold = members.reshape(case.spec.k_folds, -1, *members.shape[1:]).mean(1)
    found = by_fold[table["fold"], np.searchsorted(design.rows, table["row"])]
    np.testing.assert_allclose(found, table[[f"p({level})" for level in levels]], atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1)
    actual = [case.cells[case.spec.target][row].as_py() for row in table["row"]]
    if OTHER not in levels:
        assert table["actual"].tolist() == actual


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("table")
    return lay(folder, frame_of(), holdout={"fraction": 0.1}, **SMALL)


@pytest.fixture(scope="module")
def outcome(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return start(case, tmp_path_factory.mktemp("run"))


def test_the_result_is_json(outcome: Outcome) -> None:
    result = outcome.result
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    own = {"classes", "confusion", "decision", "calibration", "sets", "baselines"}
    assert own <= result.keys()
    assert {"intervals", "perceptron"}.isdisjoint(result)
    assert result["holdout"]["rows"] == 12
    assert [row["level"] for row in result["classes"]] == ["high", "low", "middle"]


def test_the_model_is_the_scored_one(outcome: Outcome, case: Case) -> None:
    assert_the_model_is_the_scored_one(outcome, case)
    table = out_of_fold(outcome)
    assert set(table["row"]) == set(range(120)) - {3, 50} - set(case.holdout.rows)
    assert (table["prediction"] == table["actual"]).mean() == pytest.approx(
        outcome.result["metrics"]["accuracy"]
    )


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "hinge", "folds": {"type": "shuffled"}},
        {
            "loss": "perceptron",
            "class_weights": "balanced",
            "folds": {"type": "group", "column": "stars"},
            "early_stopping": None,
        },
        {
            "label_smoothing": 0.1,
            "class_weights": {"low": 3.0},
            "folds": {"type": "time", "column": "sold"},
        },
        {"architecture": {"type": "perceptron"}, "batch_size": 1, "optimizer": {}},
        {"architecture": {"type": "tabm", "hidden_sizes": [6]}, "members_per_fold": 2},
    ],
    ids=str,
)
def test_every_way_to_train_gives_a_model_that_is_proven(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    case = lay(tmp_path, frame_of().fillna({"stars": 9.0}), **(SMALL | change))
    outcome = start(case, tmp_path / "run")
    assert json.loads(json.dumps(outcome.result, allow_nan=False)) == outcome.result
    assert_the_model_is_the_scored_one(outcome, case)


@pytest.mark.parametrize("values", [(0, 1), (True, False), ("n", "y")], ids=str)
def test_two_classes_have_a_decision(tmp_path: Path, values: tuple[Any, Any]) -> None:
    frame = house_frame(90)
    frame["price"] = np.where(frame["price"].rank(pct=True) > 0.7, *values[::-1])
    case = lay(tmp_path, frame, decision={"threshold": "mcc"}, **SMALL)
    outcome = start(case, tmp_path / "run")
    assert case.spec.task == "classification"
    decision = outcome.result["decision"]
    assert decision["positive"] == {0: "1", True: "True", "n": "y"}[values[0]]
    served = predictor_of(outcome).predict_table(case.cells)
    place = case.design.levels.index(decision["positive"])
    said = np.array(served.cells["prediction"]) == decision["positive"]
    np.testing.assert_array_equal(said, served.values[:, place] >= decision["threshold"])


def test_rare_classes_are_merged_into_one(tmp_path: Path) -> None:
    frame = frame_of()
    frame.loc[:5, "price"] = ["a", "a", "b", "c", "d", "d"]
    case = lay(tmp_path, frame, rare_classes="merge", **SMALL)
    outcome = start(case, tmp_path / "run")
    assert case.design.levels == ("high", "low", "middle", OTHER)
    rows = {one["level"]: one["rows"] for one in outcome.result["classes"]}
    assert rows[OTHER] == 6
    [warning] = [w for w in outcome.result["warnings"] if w["code"] == "rare_classes_merged"]
    assert "4 classes" in warning["detail"]
    assert_the_model_is_the_scored_one(outcome, case)


@pytest.mark.parametrize("kind", ["mlp", "linear", "perceptron"])
def test_a_class_that_a_fold_has_not_seen_is_named(tmp_path: Path, kind: str) -> None:
    """In time, one begins late: the first fold trains on rows of a single class."""
    frame = frame_of()
    early = np.arange(120) < 60
    frame["price"] = np.where(early | (np.arange(120) % 2 == 0), "old", "new")
    spec = SMALL | {"architecture": {"type": kind}, "folds": {"type": "time", "column": "sold"}}
    case = lay(tmp_path, frame, **spec)
    outcome = start(case, tmp_path / "run")
    [warning] = [w for w in outcome.result["warnings"] if w["code"] == "class_unseen"]
    assert "'new' (fold 0, 1) is in no training row" in warning["detail"]
    assert outcome.result["metrics"]["log_loss"] < 50
    assert_the_model_is_the_scored_one(outcome, case)


@pytest.mark.parametrize("kind", ["mlp", "perceptron"])
def test_a_released_run_ends_with_the_same_bits(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SMALL | {"architecture": {"type": kind}, "class_weights": "balanced", "max_epochs": 3}
    if kind == "perceptron":
        spec |= {"batch_size": 1, "optimizer": {}}
    case = lay(tmp_path, frame_of(), **spec)
    whole = start(case, tmp_path / "whole")
    stopped = FakeCallbacks(stop="release", after=3)
    with pytest.raises(Stopped):
        start(case, tmp_path / "stopped", stopped)
    exported_as(monkeypatch, whole)
    resumed = start(case, tmp_path / "resumed", FakeCallbacks(earlier=stopped.saved[::-1]))
    for name in ("weights.safetensors", "oof.parquet"):
        assert resumed.artifacts[name].read_bytes() == whole.artifacts[name].read_bytes()
    assert resumed.result["folds"] == whole.result["folds"]
    if kind == "perceptron":
        assert resumed.result["perceptron"] == whole.result["perceptron"]
