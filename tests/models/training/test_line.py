"""A linear model begins, and with its defaults stays, at ridge or logistic regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from houses import Case, house_frame, lay, score, train, trainer_of
from pydantic import ValidationError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.spec.architectures import MlpArchitecture

LINEAR = {"architecture": {"type": "linear"}}


def first_outputs(case: Case, fold: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs and targets of the fold's training rows, and the outputs for them, in float64."""
    trainer = trainer_of(case, torch.float64)
    numbers, codes = torch.from_numpy(case.design.numbers), torch.from_numpy(case.design.codes)
    inputs = trainer.inputs.encoder(numbers.unsqueeze(0), codes.unsqueeze(0))[fold]
    targets = trainer.inputs.target.standardize(torch.from_numpy(case.design.target))[fold]
    rows = case.folds[fold].train
    layer = trainer.network.linear_layers()[0]
    found = inputs[rows] @ layer.weight[fold].detach() + layer.bias[fold].detach()
    return inputs[rows].numpy(), targets[rows].numpy(), found[:, 0].numpy()


@pytest.mark.parametrize("rows", [400, 60])
def test_it_begins_at_ridge_regression(tmp_path: Path, rows: int) -> None:
    """Also where inputs, here 51, are more than the rows of a fold."""
    frame = house_frame(rows)
    frame["street"] = [f"street {place % 40}" for place in range(rows)]
    case = lay(tmp_path, frame, features={"kinds": {"street": "categorical"}}, **LINEAR)
    inputs, targets, found = first_outputs(case, 2)
    assert (inputs.shape[1] > len(inputs)) is (rows == 60)
    np.testing.assert_allclose(found, Ridge().fit(inputs, targets).predict(inputs), atol=1e-9)


@pytest.mark.parametrize("rows", [60, 1_000])
def test_its_error_is_that_of_least_squares(tmp_path: Path, rows: int) -> None:
    chance = np.random.default_rng(rows)
    x = chance.normal(size=(rows, 4))
    price = 100 + x @ [3.0, -2.0, 1.0, 0.0] + chance.normal(size=rows)
    case = lay(tmp_path, pd.DataFrame(x, columns=list("abcd")).assign(price=price), **LINEAR)
    found = score(case, train(case)).assessment.metrics["rmse"]
    expected = np.empty(rows)
    for fold in case.folds:
        rival = make_pipeline(StandardScaler(), LinearRegression())
        expected[fold.validation] = rival.fit(x[fold.train], price[fold.train]).predict(
            x[fold.validation]
        )
    assert found == pytest.approx(np.sqrt(np.mean((expected - price) ** 2)), rel=0.01)


def test_points_that_a_line_parts_are_parted(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(300, 2))
    side = np.sign(x[:, 0] - 0.5 * x[:, 1])
    case = lay(tmp_path, pd.DataFrame(x, columns=["a", "b"]).assign(price=side), **LINEAR)
    found = score(case, train(case)).out_of_fold
    assert (np.sign(found) == side).mean() > 0.95


@pytest.mark.parametrize("levels", [2, 3])
def test_of_classes_it_begins_at_logistic_regression(tmp_path: Path, levels: int) -> None:
    frame = house_frame(200)
    frame["price"] = pd.qcut(frame["price"], levels, labels=["a", "b", "c"][:levels])
    case = lay(tmp_path, frame, **LINEAR)
    trainer = trainer_of(case, torch.float64)
    numbers, codes = torch.from_numpy(case.design.numbers), torch.from_numpy(case.design.codes)
    inputs = trainer.inputs.encoder(numbers.unsqueeze(0), codes.unsqueeze(0))
    layer = trainer.network.linear_layers()[0]
    for fold, rows in enumerate(case.folds):
        x, y = inputs[fold][rows.train], case.design.target[rows.train]
        outputs = x @ layer.weight[fold].detach() + layer.bias[fold].detach()
        rival = LogisticRegression(max_iter=1_000).fit(x.numpy(), y)
        expected = rival.predict_proba(x.numpy())
        np.testing.assert_allclose(torch.softmax(outputs, 1), expected, atol=2e-3)


def test_a_fold_that_knows_one_class_begins_at_zero(tmp_path: Path) -> None:
    """The earliest rows are all alike."""
    frame = house_frame(90)
    frame["price"] = np.where(np.arange(90) < 40, "old", np.where(np.arange(90) % 2, "new", "old"))
    folds = {"type": "time", "column": "sold"}
    case = lay(tmp_path, frame, folds=folds, k_folds=3, max_epochs=3, **LINEAR)
    assert len(np.unique(case.design.target[case.folds[0].train])) == 1
    layer = trainer_of(case).network.linear_layers()[0]
    assert not layer.weight[0].any()
    assert layer.weight[2].any()
    assert np.isfinite(score(case, train(case)).out_of_fold[case.folds[0].validation]).all()


def test_another_start_is_left_alone(tmp_path: Path) -> None:
    architecture = {"type": "linear", "initialization": "constant"}
    case = lay(tmp_path, house_frame(), architecture=architecture)
    _, _, found = first_outputs(case, 0)
    assert np.ptp(found) == 0


def test_a_network_beside_a_line_begins_as_the_line(tmp_path: Path) -> None:
    """Also of classes: the line alone decides before the first step."""
    frame = house_frame(200)
    frame["price"] = np.where(frame.price > frame.price.median(), "dear", "cheap")
    architecture = {"type": "mlp", "hidden_sizes": [8], "linear_path": "least_squares"}
    case = lay(tmp_path, frame, architecture=architecture)
    trainer = trainer_of(case, torch.float64)
    numbers, codes = torch.from_numpy(case.design.numbers), torch.from_numpy(case.design.codes)
    inputs = trainer.inputs.encoder(numbers.unsqueeze(0), codes.unsqueeze(0))
    outputs = trainer.network.predict(inputs).detach().numpy()
    rows = case.folds[1].train
    own = inputs[1].numpy()[rows]
    expected = LogisticRegression(C=1.0, max_iter=1_000).fit(own, case.design.target[rows])
    found = outputs[1][rows]
    np.testing.assert_allclose(
        found[:, 1] - found[:, 0], expected.decision_function(own), atol=1e-2
    )


def test_a_line_needs_inputs_that_are_not_learnt() -> None:
    with pytest.raises(ValidationError, match="periodic"):
        MlpArchitecture.model_validate(
            {"linear_path": "least_squares", "numeric_embedding": {"type": "periodic"}}
        )
