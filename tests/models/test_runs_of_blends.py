"""Runs of blends: their files are the model that was scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from blends import MLP, TREES, laid, model_scale, raw_of, trained_of
from classes import class_frame
from houses import Case, lay
from runs import start

from models.evaluation.blend import blend
from models.experiment import Outcome
from models.export.graph import session
from models.export.served import ServedModel, raw_outputs
from models.objectives.classification.graph import LABEL
from models.serving.explain import explain
from models.serving.manifest import MEMBERS, SPREAD, Manifest
from models.serving.predictor import Predictor
from models.training.engine import TrainedPopulation

DIVERGING: dict[str, Any] = {
    "architecture": {"type": "mlp", "hidden_sizes": [8, 8, 8], "activation": "identity"},
    "optimizer": {"name": "sgd", "learning_rate": 1e6},
    "batch_size": 4,
    "max_epochs": 3,
}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return laid(tmp_path_factory.mktemp("table"), holdout={"fraction": 0.15})


@pytest.fixture(scope="module")
def trained(case: Case) -> list[TrainedPopulation]:
    return trained_of(case)


@pytest.fixture(scope="module")
def outcome(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return start(case, tmp_path_factory.mktemp("run"))


def predictor_of(outcome: Outcome) -> Predictor:
    manifest = Manifest.model_validate_json(outcome.artifacts["manifest.json"].read_text())
    return Predictor(outcome.artifacts["core.onnx"].read_bytes(), manifest)


def test_a_rows_prediction_is_its_own_folds_blend(
    outcome: Outcome, case: Case, trained: list[TrainedPopulation]
) -> None:
    """The out-of-fold prediction, member f of the graph, and the weighted sum by hand."""
    table, design = pd.read_parquet(outcome.artifacts["oof.parquet"]), case.design
    core = session(outcome.artifacts["core.onnx"].read_bytes())
    [members] = core.run([MEMBERS], {"numbers": design.numbers, "codes": design.codes})
    assert members.shape == (3, len(design))
    places = np.searchsorted(design.rows, table["row"])
    np.testing.assert_allclose(members[table["fold"], places], table["prediction"], rtol=1e-4)
    served, _ = blend(case.spec, trained, design, case.folds)
    assert served.weights is not None
    outputs = raw_of(case, [ServedModel.of(population) for population in trained])
    for fold, rows in enumerate(case.folds):
        summed = torch.from_numpy(outputs[fold] @ served.weights[fold].numpy())
        by_hand = served.fold(fold).target.restore(summed[None, :, None])[0].numpy()
        np.testing.assert_allclose(members[fold, rows.validation], by_hand, rtol=1e-4)
        other = members[(fold + 1) % 3, rows.validation]
        assert not np.allclose(other, by_hand, rtol=1e-3)


def test_the_holdout_is_scored_by_the_mean_of_all_folds(outcome: Outcome, case: Case) -> None:
    held = outcome.result["holdout"]
    assert held["rows"] == len(case.holdout.rows) > 0
    prices = predictor_of(outcome).predict_table(case.cells)
    rows = case.holdout.rows
    gaps = prices.values[rows] - case.holdout.target
    assert held["metrics"]["rmse"] == pytest.approx(np.sqrt(np.mean(gaps**2)), rel=1e-4)
    np.testing.assert_allclose(prices.values, prices.members.mean(0), rtol=1e-9)


def test_intervals_follow_the_spread_between_the_parts(
    outcome: Outcome, case: Case, trained: list[TrainedPopulation]
) -> None:
    design = case.design
    core = session(outcome.artifacts["core.onnx"].read_bytes())
    [spread] = core.run([SPREAD], {"numbers": design.numbers, "codes": design.codes})
    expected = np.zeros(len(design))
    models = [ServedModel.of(population) for population in trained]
    served, _ = blend(case.spec, trained, case.design, case.folds)
    assert served.weights is not None
    assert served.weights.shape[1] == len(trained)
    for place, weights in enumerate(served.weights.numpy()):
        shares = weights / weights.sum()
        raw = [
            raw_outputs(model.fold(place), design.numbers, design.codes)[0].double().mean(0)[:, 0]
            for model in models
        ]
        outputs = np.stack(raw)
        squares = (outputs - shares @ outputs) ** 2
        expected += np.sqrt(shares @ squares) * model_scale(models[0], place) / 3
    np.testing.assert_allclose(spread, expected, rtol=1e-4)
    table = pd.read_parquet(outcome.artifacts["oof.parquet"])
    inside = (table["low"] <= table["actual"]) & (table["actual"] <= table["high"])
    assert inside.mean() == pytest.approx(0.9, abs=0.07)
    [shown] = [one for one in outcome.result["intervals"] if one["coverage"] == 0.9]
    assert shown["measured"] == pytest.approx(inside.mean())


def test_explanations_and_importance_are_of_the_blend(outcome: Outcome, case: Case) -> None:
    predictor, design = predictor_of(outcome), case.design
    importance = {row["column"]: row for row in importance_of(outcome)}
    assert importance.keys() == {*design.numeric, *(known.name for known in design.categorical)}
    assert next(iter(importance)) in ("area", "quarter")
    core = session(outcome.artifacts["core.onnx"].read_bytes())

    def predict(numbers: np.ndarray, codes: np.ndarray) -> np.ndarray:
        [value] = core.run(["value"], {"numbers": numbers, "codes": codes})
        return np.asarray(value)

    background = predictor.manifest.background
    assert background is not None
    found = explain(predict, background, design.numbers[0], design.codes[0])
    value = predict(design.numbers[:1], design.codes[:1])[0]
    assert found.base + found.contributions.sum() == pytest.approx(value, rel=1e-6)


def importance_of(outcome: Outcome) -> list[dict[str, Any]]:
    manifest = Manifest.model_validate_json(outcome.artifacts["manifest.json"].read_text())
    return [row.model_dump() for row in manifest.importance or []]


def test_with_one_usable_member_the_model_still_works(tmp_path: Path) -> None:
    """The other stops being finite in all folds."""
    case = laid(tmp_path, members=[DIVERGING, TREES])
    outcome = start(case, tmp_path / "run")
    failed, kept = outcome.result["blend"]["members"]
    assert failed["left_out"] is not None
    assert "failed" in failed["left_out"]
    assert (failed["error"], failed["bytes"], failed["weight"]) == (None, None, 0)
    assert kept["left_out"] is None
    # Few trees are small steps: with a weight above 1 they err less than alone.
    assert 0 <= kept["difference"] < 0.5 * kept["error"]
    table = pd.read_parquet(outcome.artifacts["oof.parquet"])
    assert set(table["fold"]) == {0, 1, 2}
    assert np.isfinite(table[["prediction", "low", "high"]].to_numpy()).all()
    members = predictor_of(outcome).predict_table(case.cells).members
    np.testing.assert_allclose(members[table["fold"], table["row"]], table["prediction"], rtol=1e-4)
    assert b"hidden" not in outcome.artifacts["weights.safetensors"].read_bytes()


@pytest.mark.parametrize(("target", "other"), [("state", "let"), ("let", "state")])
def test_classes_are_blended(tmp_path: Path, target: str, other: str) -> None:
    case = lay(
        tmp_path,
        class_frame(120).drop(columns=[other, "sold"]),
        target=target,
        members=[MLP, TREES],
        k_folds=3,
    )
    outcome = start(case, tmp_path / "run")
    table, levels = pd.read_parquet(outcome.artifacts["oof.parquet"]), case.design.levels
    told = table[[f"p({level})" for level in levels]].to_numpy()
    np.testing.assert_allclose(told.sum(1), 1, atol=1e-9)
    design = case.design
    core = session(outcome.artifacts["core.onnx"].read_bytes())
    [members] = core.run([MEMBERS], {"numbers": design.numbers, "codes": design.codes})
    places = np.searchsorted(design.rows, table["row"])
    np.testing.assert_allclose(members[table["fold"], places], told, atol=1e-4)
    np.testing.assert_allclose(members.sum(-1), 1, atol=1e-6)
    blended = outcome.result["metrics"]["log_loss"]
    alone = [member["error"] for member in outcome.result["blend"]["members"]]
    assert blended <= max(alone)
    for member in outcome.result["blend"]["members"]:
        assert member["error"] - member["difference"] == pytest.approx(blended, rel=1e-4)
        assert member["weight"] > 0
    predictor = predictor_of(outcome)
    full = session(outcome.artifacts["model.onnx"].read_bytes())
    [labels] = full.run([LABEL], raw_cells(case, predictor.manifest))
    assert labels.tolist() == predictor.predict_table(case.cells).cells["prediction"]


def raw_cells(case: Case, manifest: Manifest) -> dict[str, np.ndarray]:
    """The columns as the file's users give them: doubles and texts, (N, 1) each."""
    numeric = {feature.name for feature in manifest.numeric}
    inputs = {}
    for name, given in manifest.inputs.items():
        cells = pd.Series(case.cells[name].to_pylist())
        column = pd.to_numeric(cells).to_numpy(float) if name in numeric else cells.to_numpy(object)
        inputs[given] = column[:, None]
    return inputs
