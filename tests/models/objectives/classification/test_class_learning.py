"""Scoring of classes: thresholds and sets come from other folds than the rows they judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from classes import let_model, state_model
from houses import Case, lay, score, train
from scipy.stats import binom

from models.objectives.base import MEASURED, Outputs
from models.objectives.classification import sets
from models.objectives.classification.learning import ClassificationLearning
from models.objectives.classification.metrics import Judged
from models.objectives.classification.probabilities import ClassTarget
from models.objectives.classification.thresholds import best_threshold
from models.objectives.conformal import bound, rank
from models.objectives.learning import Assessment, Scored
from models.spec import TrainingSpec

LEARNING = ClassificationLearning()
TWO = ("no", "yes")
FOLDS, ROWS = 4, 250


def spec_of(**spec: Any) -> TrainingSpec:
    given = {"target": "let", "loss": "cross_entropy", "k_folds": FOLDS} | spec
    return TrainingSpec.model_validate(given)


def drawn(seed: int = 0, rows: int = ROWS) -> list[tuple[np.ndarray, torch.Tensor]]:
    """Truths and raw outputs (1, n, 2) of each fold; a fold is rarer in yes than the next."""
    chance = np.random.default_rng(seed)
    found = []
    for fold in range(FOLDS):
        odds = chance.normal(fold / 2 - 2, 1.5, rows)
        actual = chance.uniform(size=rows) < 1 / (1 + np.exp(-odds))
        outputs = np.stack([np.zeros(rows), odds], -1)[None]
        found.append((actual.astype(float), torch.from_numpy(outputs)))
    return found


def refined(scored: list[tuple[np.ndarray, torch.Tensor]], spec: TrainingSpec) -> ClassTarget:
    target = LEARNING.target([actual for actual, _ in scored], TWO, spec)
    LEARNING.refine(target, scored, spec)
    return target


def scored_of(
    target: ClassTarget, folds: list[tuple[np.ndarray, torch.Tensor]], spec: TrainingSpec
) -> Scored:
    actual = np.concatenate([truths for truths, _ in folds])
    members = np.concatenate(
        [target.restore(o, slice(f, f + 1)).numpy() for f, (_, o) in enumerate(folds)], axis=1
    )
    numbers = np.arange(float(len(actual)))[:, None]
    outputs = Outputs(members[0], members, numbers, np.zeros((len(actual), 0), np.int64))
    fold = np.repeat(np.arange(len(folds)), [len(truths) for truths, _ in folds])
    return Scored(spec, target, TWO, actual, outputs, fold, None, np.arange(len(actual)))


def assessed(spec: TrainingSpec, seed: int = 0) -> tuple[Scored, Assessment]:
    folds = drawn(seed)
    scored = scored_of(refined(folds, spec), folds, spec)
    return scored, LEARNING.assess(scored)


def probabilities(scored: Scored, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return scored.actual[rows], scored.outputs.values[rows, 1]


# Thresholds.


@pytest.mark.parametrize("in_time", [False, True])
def test_each_fold_is_decided_by_the_threshold_of_the_others(in_time: bool) -> None:
    folds = {"type": "time", "column": "sold"} if in_time else {"type": "stratified"}
    spec = spec_of(decision={"threshold": "f1"}, folds=folds)
    scored, found = assessed(spec)
    decided = found.result["decision"]
    first = int(in_time)  # the first fold in time has no earlier one
    assert decided["by_fold"][:first] == [0.5] * first
    for fold in range(first, FOLDS):
        others = scored.fold < fold if in_time else scored.fold != fold
        expected = best_threshold(spec.decision, *probabilities(scored, others))
        assert decided["by_fold"][fold] == expected
        own = scored.fold == fold
        said = np.where(scored.outputs.values[own, 1] >= expected, "yes", "no")
        assert found.columns["prediction"][own].tolist() == said.tolist()
    whole = best_threshold(spec.decision, *probabilities(scored, scored.fold >= 0))
    assert decided["threshold"] == whole == found.kept["classes"].threshold
    assert len({*decided["by_fold"], whole}) > 2
    assert decided["positive"] == "yes"


def test_a_given_threshold_holds_for_all() -> None:
    scored, found = assessed(spec_of(decision={"threshold": 0.25}))
    assert found.result["decision"] == {
        "positive": "yes",
        "threshold": 0.25,
        "by_fold": [0.25] * FOLDS,
    }
    said = np.where(scored.outputs.values[:, 1] >= 0.25, "yes", "no")
    assert found.columns["prediction"].tolist() == said.tolist()


def test_the_negative_word_may_be_positive() -> None:
    scored, found = assessed(spec_of(decision={"positive": "no", "threshold": 0.9}))
    said = np.where(scored.outputs.values[:, 0] >= 0.9, "no", "yes")
    assert found.columns["prediction"].tolist() == said.tolist()


def test_folds_have_metrics_of_their_own_threshold() -> None:
    folds, spec = drawn(), spec_of(decision={"threshold": "balanced_accuracy"})
    target = refined(folds, spec)
    scored = scored_of(target, folds, spec)
    own = scored.fold == 0
    actual, predicted = scored.actual[own], scored.outputs.values[own]
    found = LEARNING.fold_metrics(target, actual, predicted, scored.actual)
    codes = sets.decided(predicted, 1, target.threshold[0].item())
    assert found == Judged(actual.astype(int), predicted, codes, 1).metrics()
    assert target.threshold[0] != target.served_threshold


# What is reported.


def test_the_metrics_are_those_of_the_out_of_fold_rows() -> None:
    scored, found = assessed(spec_of())
    said = (found.columns["prediction"] == "yes").astype(int)
    judged = Judged(scored.actual.astype(int), scored.outputs.values, said, 1)
    assert found.metrics == judged.metrics()
    assert found.metrics_error == judged.errors(scored.units)
    np.testing.assert_array_equal(found.columns["p(yes)"], scored.outputs.values[:, 1])
    rows = np.arange(len(said))
    true = scored.outputs.values[rows, scored.actual.astype(int)]
    np.testing.assert_array_equal(found.columns["probability_of_actual"], true)
    np.testing.assert_array_equal(found.columns["probability"], scored.outputs.values[rows, said])
    assert sum(one["rows"] for one in found.result["classes"]) == len(said)
    assert found.kept["classes"].shares[1] == pytest.approx(said.mean())


def test_calibration_is_reported_before_and_after() -> None:
    folds = [(actual, 4 * outputs) for actual, outputs in drawn()]
    target = refined(folds, spec_of())
    found = LEARNING.assess(scored_of(target, folds, spec_of())).result["calibration"]
    raw = np.concatenate([torch.softmax(outputs[0], -1).numpy() for _, outputs in folds])
    actual = np.concatenate([truths for truths, _ in folds]).astype(int)
    before = Judged(actual, raw, raw.argmax(1), 1).metrics()
    assert found["before"] == {name: pytest.approx(before[name]) for name in ("log_loss", "ece")}
    assert found["after"]["log_loss"] < found["before"]["log_loss"] - 0.2
    assert found["after"]["ece"] < found["before"]["ece"] / 2
    np.testing.assert_allclose(found["temperatures"], 4, rtol=0.2)


# Sets.


@pytest.mark.parametrize("in_time", [False, True])
def test_sets_are_measured_with_the_bounds_of_other_folds(in_time: bool) -> None:
    folds = {"type": "time", "column": "sold"} if in_time else {"type": "stratified"}
    scored, found = assessed(spec_of(folds=folds))
    shares = sets.chance(scored.outputs.numbers, scored.outputs.codes)
    own = sets.scores(scored.outputs.values, shares)
    true = own[np.arange(len(own)), scored.actual.astype(int)]
    for measured, coverage in zip(found.result["sets"], MEASURED, strict=True):
        hits, sizes = [], []
        for fold in range(FOLDS):
            others = true[scored.fold < fold if in_time else scored.fold != fold]
            if len(others):
                largest = np.sort(others)[rank(len(others), coverage) - 1]
                rows = scored.fold == fold
                hits += (true[rows] <= largest).tolist()
                sizes += (own[rows] <= largest).sum(1).tolist()
        assert measured["coverage"] == coverage
        assert measured["rows"] == len(hits) == ROWS * (FOLDS - in_time)
        assert measured["measured"] == pytest.approx(np.mean(hits))
        assert measured["mean_size"] == pytest.approx(np.mean(sizes))
        assert measured["empty"] == pytest.approx(np.mean(np.array(sizes) == 0))


def test_out_of_fold_sets_contain_the_truth_as_often_as_requested() -> None:
    """Both the bounds and the rows are random."""
    _, found = assessed(spec_of(), seed=3)
    for measured in found.result["sets"]:
        rows = measured["rows"]
        low, high = binom(rows // 2, measured["coverage"]).ppf([0.001, 0.999]) / (rows // 2)
        assert low <= measured["measured"] <= high


def test_the_holdout_is_scored_with_the_served_threshold_and_bounds() -> None:
    spec = spec_of(decision={"threshold": "f1"})
    folds = drawn()
    target = refined(folds, spec)
    assessment = LEARNING.assess(scored_of(target, folds, spec))
    chance = np.random.default_rng(9)
    probability = chance.uniform(size=500)
    actual = (chance.uniform(size=500) < probability).astype(float)
    values = np.stack([1 - probability, probability], -1)
    numbers, codes = np.arange(500.0)[:, None], np.zeros((500, 0), np.int64)
    holdout = Scored(
        spec,
        target,
        TWO,
        actual,
        Outputs(values, values[None], numbers, codes),
        np.full(500, -1),
        None,
        np.arange(500),
    )
    found = LEARNING.assess_holdout(assessment, holdout)
    said = (probability >= target.served_threshold).astype(int)
    assert found["metrics"] == Judged(actual.astype(int), values, said, 1).metrics()
    known = assessment.kept["classes"].calibration.model_dump()
    own = sets.scores(values, sets.chance(numbers, codes))
    for measured, coverage in zip(found["sets"], MEASURED, strict=True):
        inside = own[np.arange(500), actual.astype(int)] <= bound(known, coverage)
        assert measured["measured"] == pytest.approx(inside.mean())


# From the table on.


def test_the_best_constant_s_error_is_the_entropy() -> None:
    target = LEARNING.target([np.arange(4.0) % 2], TWO, spec_of())
    assert LEARNING.constant_error(target, np.array([0.0, 0, 0, 1])) == pytest.approx(
        -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    )


def separable(folder: Any, **spec: Any) -> Case:
    chance = np.random.default_rng(0)
    x = chance.normal(size=(240, 2))
    side = np.select([x[:, 0] < -0.4, x[:, 0] < 0.4], ["low", "middle"], "high")
    frame = pd.DataFrame(x, columns=["a", "b"]).assign(price=side)
    return lay(folder, frame, architecture={"type": "linear"}, k_folds=4, **spec)


def test_classes_that_lines_separate_are_learnt(tmp_path: Any) -> None:
    case = separable(tmp_path)
    found = score(case, train(case)).assessment.metrics
    assert found["accuracy"] is not None
    assert found["accuracy"] > 0.9
    assert case.spec.folds.type == "stratified"


def test_whole_models_report_what_the_contract_names() -> None:
    for model, count in ((state_model(), 3), (let_model(), 2)):
        result = model.scores.result()
        assert {*result["metrics"]} == {*result["metrics_error"]}
        assert len(result["classes"]) == len(result["confusion"]["rows"]) == count
        assert (result["decision"] is None) == (count == 3)
        assert [one["coverage"] for one in result["sets"]] == [*MEASURED]
        assert (result["metrics"]["average_precision"] is None) == (count == 3)
        assert (result["metrics_error"]["average_precision"] is None) == (count == 3)
    assert {"metrics", "sets"} <= {*let_model().scores.result()["holdout"]}
