"""A blend's weights, what they are learnt from, and the members that are left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blends import MLP, TREES, laid, model_scale, raw_of, standard_of, trained_of
from houses import Case
from scipy.optimize import nnls

from models.evaluation.blend import blend
from models.evaluation.scores import evaluate
from models.evaluation.weights import FEWEST_ROWS, LARGEST_WEIGHT, LEAST_SHARE, least_loss
from models.export.served import ServedModel
from models.objectives.losses import RowLoss
from models.objectives.trained import learning_of
from models.training.engine import TrainedPopulation
from models.training.progress import Course

# Its outputs are noise, so that it gets no weight.
NOISE: dict[str, Any] = {
    "architecture": {
        "type": "mlp",
        "hidden_sizes": [8],
        "initialization": {"type": "normal", "std": 2.0},
    },
    "optimizer": {"name": "sgd", "learning_rate": 1e-12},
    "max_epochs": 1,
}


def squared_errors(case: Case) -> RowLoss:
    return learning_of(case.spec).watched_loss(case.spec)


def weights_of(case: Case, trained: Sequence[TrainedPopulation]) -> np.ndarray:
    """(F, P), 0 for members that are left out."""
    served, found = blend(case.spec, trained, case.design, case.folds)
    assert served.weights is not None
    kept = [place for place, reason in enumerate(left_out(found)) if reason is None]
    weights = np.zeros((len(case.folds), len(trained)))
    weights[:, kept] = served.weights.numpy()
    return weights


def left_out(found: dict[str, Any]) -> list[str | None]:
    return [member["left_out"] for member in found["blend"]["members"]]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return laid(tmp_path_factory.mktemp("table"), holdout={"fraction": 0.15})


@pytest.fixture(scope="module")
def trained(case: Case) -> list[TrainedPopulation]:
    return trained_of(case)


# Weights.


def drawn(rows: int, noise: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs (n, 3, 1) of two models and of one that is opposed to the truth; targets (n,)."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=rows)
    outputs = np.stack(
        [truth + rng.normal(0, 0.5, rows), truth + rng.normal(0, 0.7, rows), noise - truth], axis=1
    )
    return torch.from_numpy(outputs)[..., None], torch.from_numpy(truth)


@pytest.mark.parametrize("seed", range(5))
def test_least_squared_errors_are_non_negative_least_squares(case: Case, seed: int) -> None:
    outputs, targets = drawn(200, 0.0, seed)
    found = least_loss(outputs, targets, squared_errors(case))
    expected, _ = nnls(outputs[..., 0].numpy(), targets.numpy())
    assert expected[2] == 0
    assert expected[:2].min() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_small_weight_is_left_out_and_the_rest_found_again(case: Case) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=2_000)
    good, poor, fair = (truth + rng.normal(0, error, 2_000) for error in (0.4, 3.0, 0.6))
    outputs = np.stack([good, poor, fair], axis=1)
    full, _ = nnls(outputs, truth)
    assert 0 < full[1] < LEAST_SHARE * full.sum()
    found = least_loss(
        torch.from_numpy(outputs)[..., None], torch.from_numpy(truth), squared_errors(case)
    )
    expected, _ = nnls(outputs[:, [0, 2]], truth)
    np.testing.assert_allclose(found, [expected[0], 0, expected[1]], atol=1e-4)
    assert not np.allclose(found, full, atol=1e-4)


def test_a_model_that_says_almost_nothing_is_not_blown_up(case: Case) -> None:
    """In another fold it may say more."""
    outputs, targets = drawn(200, 0.1)
    faint = outputs[:, :1] * 1e-4
    (weight,) = least_loss(faint, targets, squared_errors(case))
    assert weight == pytest.approx(LARGEST_WEIGHT)


def test_models_that_are_all_opposed_to_the_truth_have_no_weight(case: Case) -> None:
    outputs, targets = drawn(50, 0.0)
    opposed = -outputs[:, :2].abs() * targets.sign()[:, None, None]
    np.testing.assert_array_equal(least_loss(opposed, targets, squared_errors(case)), [0, 0])


def test_a_folds_weights_are_learnt_from_the_rows_of_the_others(
    case: Case, trained: list[TrainedPopulation]
) -> None:
    models = [ServedModel.of(population) for population in trained]
    outputs, targets = raw_of(case, models), standard_of(case, models[0])
    weights = weights_of(case, trained)
    for fold in range(3):
        others = [other for other in range(3) if other != fold]
        stacked = np.concatenate([outputs[other] for other in others])
        actual = np.concatenate([targets[other] for other in others])
        expected, _ = nnls(stacked, actual)
        small = expected < LEAST_SHARE * expected.sum()
        if small.any():
            expected[small] = 0
            expected[~small], _ = nnls(stacked[:, ~small], actual)
        np.testing.assert_allclose(weights[fold], expected, atol=1e-4)
    assert len({weight.tobytes() for weight in weights}) == 3


def changed(case: Case, fold: int) -> Case:
    """With other targets of the rows that a fold scores."""
    target = case.design.target.copy()
    rows = case.folds[fold].validation
    target[rows] = np.random.default_rng(1).permutation(target[rows])
    assert not np.array_equal(target, case.design.target)
    return dataclasses.replace(case, design=dataclasses.replace(case.design, target=target))


@pytest.mark.parametrize("fold", range(3))
def test_a_folds_own_rows_never_move_its_weights(
    case: Case, trained: list[TrainedPopulation], fold: int
) -> None:
    before, after = weights_of(case, trained), weights_of(changed(case, fold), trained)
    for place in range(3):
        assert np.array_equal(before[place], after[place]) == (place == fold)


def test_in_time_only_earlier_folds_teach(tmp_path: Path) -> None:
    case = laid(tmp_path, 210, folds={"type": "time", "column": "sold"}, k_folds=4)
    assert len(case.folds[0].validation) >= FEWEST_ROWS
    trained = trained_of(case)
    models = [ServedModel.of(population) for population in trained]
    before = weights_of(case, trained)
    np.testing.assert_array_equal(before[0], [1 / 3] * 3)
    outputs, targets = raw_of(case, models), standard_of(case, models[0])
    alone = least_loss(
        torch.from_numpy(outputs[0])[..., None], torch.from_numpy(targets[0]), squared_errors(case)
    )
    # `raw_of` averages members in float64, the served model in float32.
    np.testing.assert_allclose(before[1], alone, rtol=1e-6)
    for fold in range(4):
        after = weights_of(changed(case, fold), trained)
        for place in range(4):
            assert np.array_equal(before[place], after[place]) == (place <= fold), (fold, place)
    served, _ = blend(case.spec, trained, case.design, case.folds)
    assert served.first_served == 3


def test_a_mean_weighs_all_the_same(case: Case, trained: list[TrainedPopulation]) -> None:
    spec = case.spec.model_copy(update={"weights": "mean"})
    served, found = blend(spec, trained, case.design, case.folds)
    assert served.weights is not None
    np.testing.assert_array_equal(served.weights.numpy(), np.full((3, 3), 1 / 3))
    for place, model in enumerate(ServedModel.of(population) for population in trained):
        part = served.parts[place]
        assert part.per_fold == model.members_per_fold
    assert [member["weight"] for member in found["blend"]["members"]] == pytest.approx([1 / 3] * 3)


def test_members_are_compared_with_the_blend(case: Case, trained: list[TrainedPopulation]) -> None:
    """Errors are root mean squares on the scale that is learnt, of rows by their own fold."""
    served, found = blend(case.spec, trained, case.design, case.folds)
    models = [ServedModel.of(population) for population in trained]
    outputs, targets = raw_of(case, models), standard_of(case, models[0])
    assert served.weights is not None
    scales = [model_scale(models[0], place) for place in range(3)]

    def error(weights: np.ndarray) -> float:
        gaps = [
            scale * (output @ weight - target)
            for scale, output, weight, target in zip(scales, outputs, weights, targets, strict=True)
        ]
        return float(np.sqrt(np.mean(np.concatenate(gaps) ** 2)))

    blended = error(np.asarray(served.weights))
    members = found["blend"]["members"]
    assert [member["architecture"] for member in members] == ["mlp", "boosted_trees", "mlp"]
    for place, member in enumerate(members):
        alone = error(np.tile(np.eye(3)[place], (3, 1)))
        assert member["error"] == pytest.approx(alone, rel=0.02)  # bounds clip a few predictions
        assert member["difference"] == pytest.approx(alone - blended, abs=0.02 * alone)
        assert member["standard_error"] > 0
        assert member["weight"] == pytest.approx(served.weights[:, place].mean().item())
        assert member["bytes"] > 0
        assert member["left_out"] is None


# Members that are left out.


def test_a_member_that_adds_nothing_is_left_out_of_the_files(tmp_path: Path) -> None:
    case = laid(tmp_path, members=[MLP, NOISE, TREES])
    trained = trained_of(case)
    served, found = blend(case.spec, trained, case.design, case.folds)
    assert left_out(found) == [None, "it adds nothing", None]
    assert [type(part.network).__name__ for part in served.parts] == ["Mlp", "BoostedTrees"]
    assert served.weights is not None
    assert served.weights.shape == (3, 2)
    members = found["blend"]["members"]
    assert members[1]["weight"] == 0
    assert members[1]["difference"] > 0
    without = laid(tmp_path, members=[MLP, TREES])
    alone, _ = blend(without.spec, [trained[0], trained[2]], case.design, case.folds)
    assert alone.weights is not None
    torch.testing.assert_close(served.weights, alone.weights, rtol=0, atol=1e-4)


def test_members_that_have_not_trained_are_left_out(
    case: Case, trained: list[TrainedPopulation]
) -> None:
    """The run was stopped to keep the best so far."""
    courses = [Course(stopped_by="keep_best") for _ in trained[1].courses]
    population = [trained[0], dataclasses.replace(trained[1], courses=courses), trained[2]]
    served, found = blend(case.spec, population, case.design, case.folds)
    assert left_out(found)[1] == "the run was stopped before it had trained in all folds"
    assert all(type(part.network).__name__ == "Mlp" for part in served.parts)


def test_a_member_that_failed_in_one_fold_is_left_out(
    case: Case, trained: list[TrainedPopulation]
) -> None:
    """What the others could serve is not lost with it."""
    courses = [dataclasses.replace(course) for course in trained[1].courses]
    courses[2] = dataclasses.replace(courses[2], best_epoch=0, stopped_by="non_finite")
    failed = dataclasses.replace(trained[1], courses=courses)
    population = [trained[0], failed, trained[2]]
    served, found = blend(case.spec, population, case.design, case.folds)
    reasons = left_out(found)
    assert (reasons[0], reasons[1]) == (None, "it failed in some folds")
    assert served.folds == [0, 1, 2]
    assert len(served.parts) == reasons.count(None)
    assert all(type(part.network).__name__ == "Mlp" for part in served.parts)
    scores = evaluate(served, case.spec, case.design, case.folds, case.holdout, population)
    assert (scores.fold_of >= 0).all()


def test_members_that_failed_in_the_same_fold_serve_the_others(
    case: Case, trained: list[TrainedPopulation]
) -> None:
    failed = []
    for population in trained[1:]:
        courses = [dataclasses.replace(course) for course in population.courses]
        courses[0] = dataclasses.replace(courses[0], best_epoch=0, stopped_by="non_finite")
        failed.append(dataclasses.replace(population, courses=courses))
    spec = case.spec.model_copy(update={"members": (case.spec.members or [])[1:]})
    served, found = blend(spec, failed, case.design, case.folds)
    assert served.folds == [1, 2]
    assert None in left_out(found)
    scores = evaluate(served, spec, case.design, case.folds, case.holdout, failed)
    lost = case.folds[0].validation
    assert np.isnan(scores.out_of_fold[lost]).all()
    assert np.isfinite(np.delete(scores.out_of_fold, lost)).all()
