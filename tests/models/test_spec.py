"""What a spec may say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models.spec import TrainingSpec

EXAMPLE: dict[str, Any] = {
    "target": "SalePrice",
    "features": {"exclude": ["Id"], "kinds": {"MSSubClass": "categorical"}},
    "preprocessing": {
        "numeric_missing": "mean",
        "numeric_scaling": "standard",
        "categorical_missing": "level",
        "target_transform": "log",
    },
    "architecture": {
        "type": "mlp",
        "hidden_sizes": [256, 64],
        "activation": "relu",
        "normalization": "none",
        "initialization": "xavier_uniform",
        "numeric_embedding": None,
        "linear_path": False,
    },
    "dropout": 0.1,
    "weight_decay": 1e-4,
    "k_folds": 5,
    "folds": {"type": "shuffled"},
    "optimizer": {
        "name": "adam",
        "learning_rate": 1e-3,
        "schedule": "constant",
        "gradient_clip": None,
    },
    "batch_size": 64,
    "max_epochs": 100,
    "early_stopping": {"patience": 16, "fraction": 0.1},
    "holdout": None,
    "members_per_fold": 1,
    "loss": "squared_error",
    "seed": 0,
}


def parse(**spec: Any) -> TrainingSpec:
    return TrainingSpec.model_validate({"target": "price", **spec})


def places_of(**spec: Any) -> list[tuple[int | str, ...]]:
    """Where a spec is refused."""
    with pytest.raises(ValidationError) as caught:
        parse(**spec)
    return [error["loc"] for error in caught.value.errors()]


def test_the_documented_example_is_a_spec() -> None:
    spec = TrainingSpec.model_validate(EXAMPLE)
    assert spec.model_dump(mode="json", exclude_unset=True) == EXAMPLE


def test_a_target_is_enough() -> None:
    spec = parse()
    assert spec.architecture.type == "mlp"
    assert spec.k_folds == 5
    assert spec.early_stopping is not None
    assert TrainingSpec.model_validate_json(spec.model_dump_json()) == spec


def test_short_names() -> None:
    spec = parse(wd=0.5, k=3, optimizer={"lr": 0.25})
    assert (spec.weight_decay, spec.k_folds, spec.optimizer.learning_rate) == (0.5, 3, 0.25)


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ({"wd": 0.5, "weight_decay": 0.5}, ("'wd'", "'weight_decay'")),
        ({"k": 5, "k_folds": 5}, ("'k'", "'k_folds'")),
        ({"optimizer": {"lr": 1, "learning_rate": 1}}, ("'lr'", "'learning_rate'")),
    ],
)
def test_a_field_given_under_both_names_is_refused(
    spec: dict[str, Any], names: tuple[str, str]
) -> None:
    with pytest.raises(ValidationError) as caught:
        parse(**spec)
    assert all(name in str(caught.value) for name in names)


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ({"epochs": 5}, ("epochs",)),
        ({"features": {"only": ["area"]}}, ("features", "only")),
        ({"early_stopping": {"patience": 3, "metric": "r2"}}, ("early_stopping", "metric")),
        (
            {"architecture": {"type": "linear", "hidden_sizes": [3]}},
            ("architecture", "linear", "hidden_sizes"),
        ),
        ({"members": [{}, {"epochs": 5}]}, ("members", 1, "epochs")),
        ({"members": [{"k_folds": 3}, {}]}, ("members", 0, "k_folds")),  # all share the folds
    ],
)
def test_unknown_fields_are_refused(spec: dict[str, Any], place: tuple[str, ...]) -> None:
    assert places_of(**spec) == [place]


@pytest.mark.parametrize("probability", [1, 1.5, 100])
def test_dropout_of_one_is_refused_with_the_reason(probability: float) -> None:
    with pytest.raises(ValidationError, match="every hidden unit is zeroed"):
        parse(dropout=probability)


def test_dropout_below_one_is_taken() -> None:
    assert parse(dropout=0.99).dropout == 0.99


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ({"k_folds": 1}, ("k_folds",)),
        ({"k_folds": 51}, ("k_folds",)),
        ({"dropout": -0.1}, ("dropout",)),
        ({"weight_decay": float("nan")}, ("weight_decay",)),
        ({"weight_decay": float("inf")}, ("weight_decay",)),
        ({"optimizer": {"learning_rate": 0}}, ("optimizer", "learning_rate")),
        ({"optimizer": {"gradient_clip": 0}}, ("optimizer", "gradient_clip")),
        ({"batch_size": 0}, ("batch_size",)),
        ({"max_epochs": 0}, ("max_epochs",)),
        ({"early_stopping": {"fraction": 0.5}}, ("early_stopping", "fraction")),
        ({"holdout": {"fraction": 0}}, ("holdout", "fraction")),
        ({"seed": -1}, ("seed",)),
        ({"members_per_fold": 0}, ("members_per_fold",)),
        ({"members": []}, ("members",)),
        ({"members": [{}]}, ("members",)),
        ({"members": [{}] * 17}, ("members",)),
        ({"members": [{}, {"dropout": 1}]}, ("members", 1, "dropout")),
        ({"members": [{}, {}], "weights": "best"}, ("weights",)),
        ({"label_smoothing": 0.5}, ("label_smoothing",)),
        ({"label_smoothing": -0.1}, ("label_smoothing",)),
        ({"class_weights": {"yes": 0}}, None),
        ({"decision": {"positive": ""}}, ("decision", "positive")),
        ({"decision": {"threshold": 1.0}}, None),
        ({"decision": {"threshold": {"false_positive": 0, "false_negative": 1}}}, None),
        ({"architecture": {"hidden_sizes": []}}, ("architecture",)),  # without a type
        ({"architecture": {"type": "mlp", "hidden_sizes": []}}, None),
        ({"architecture": {"type": "mlp", "hidden_sizes": [0]}}, None),
        ({"target": ""}, ("target",)),
    ],
)
def test_numbers_have_bounds(spec: dict[str, Any], place: tuple[str, ...] | None) -> None:
    found = places_of(**spec)
    assert found == [place] if place else found[0][0] == next(iter(spec))


@pytest.mark.parametrize(
    "spec",
    [
        {"architecture": {"type": "random_forest"}},
        {"architecture": {"type": "mlp", "numeric_embedding": {"type": "one_hot"}}},
        {"task": "ranking"},
        {"loss": "focal"},
        {"rare_classes": "drop"},
        {"class_weights": "inverse"},
        {"optimizer": {"schedule": "linear"}},
    ],
)
def test_what_is_not_built_is_refused(spec: dict[str, Any]) -> None:
    assert places_of(**spec)[0][0] == next(iter(spec))


@pytest.mark.parametrize("kind", ["group", "time"])
def test_folds_that_need_a_column(kind: str) -> None:
    assert places_of(folds={"type": kind}) == [("folds",)]
    assert parse(folds={"type": kind, "column": "sold"}).folds.column == "sold"


@pytest.mark.parametrize("kind", ["shuffled", "stratified"])
def test_folds_that_take_no_column(kind: str) -> None:
    assert places_of(folds={"type": kind, "column": "sold"}) == [("folds",)]


def test_the_rate_may_stand_beside_the_other_short_names() -> None:
    spec = TrainingSpec.model_validate({"target": "price", "lr": 0.02, "wd": 0.1, "k": 3})
    assert (spec.optimizer.learning_rate, spec.weight_decay, spec.k_folds) == (0.02, 0.1, 3)
    with pytest.raises(ValueError, match="not both"):
        TrainingSpec.model_validate({"target": "price", "lr": 1, "optimizer": {"lr": 1}})
