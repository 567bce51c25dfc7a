"""What a spec without an architecture trains, by the size of the table."""

from __future__ import annotations

from typing import Any

import pytest
from houses import house_frame, lay

from models.planning.recipe import MANY_ROWS, VERY_MANY_ROWS, apply_recipe
from models.spec import EarlyStopping, TrainingSpec
from models.spec.architectures import MlpArchitecture, PiecewiseLinear
from models.tables.profile import Profile


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return lay(tmp_path_factory.mktemp("houses"), house_frame()).profile


def recipe(houses: Profile, rows: int, **spec: Any) -> TrainingSpec:
    described = TrainingSpec.model_validate({"target": "price", **spec})
    return apply_recipe(described, houses.model_copy(update={"rows": rows}))


def bins(spec: TrainingSpec) -> int:
    assert isinstance(spec.architecture, MlpArchitecture)
    assert isinstance(spec.architecture.numeric_embedding, PiecewiseLinear)
    return spec.architecture.numeric_embedding.bins


def test_it_follows_the_size_of_the_table(houses: Profile) -> None:
    small, large, huge = (recipe(houses, n) for n in (1_460, MANY_ROWS, VERY_MANY_ROWS))
    for spec in (small, large, huge):
        assert spec.optimizer.schedule == "cosine"
        assert spec.architecture.model_dump()["hidden_sizes"] == [256, 128, 64]
    assert (bins(small), bins(large), bins(huge)) == (16, 32, 32)
    assert (small.batch_size, large.batch_size, huge.batch_size) == (64, 128, 512)
    assert (small.members_per_fold, large.members_per_fold, huge.members_per_fold) == (2, 2, 1)
    assert [spec.optimizer.learning_rate for spec in (small, large, huge)] == [1e-3, 1.5e-3, 3e-3]
    assert (small.max_epochs, large.max_epochs, huge.max_epochs) == (60, 60, 30)
    assert small.early_stopping == EarlyStopping()
    assert large.early_stopping is huge.early_stopping is None


def test_few_rows_of_classes_get_more_steps_and_no_codes(houses: Profile) -> None:
    few, many = (recipe(houses, n, task="classification") for n in (MANY_ROWS - 1, MANY_ROWS))
    assert few.architecture.model_dump()["numeric_embedding"] is None
    assert (few.batch_size, few.optimizer.learning_rate, few.max_epochs) == (32, 2e-3, 60)
    assert (few.members_per_fold, few.early_stopping) == (2, EarlyStopping())
    numbers = recipe(houses, MANY_ROWS)
    assert many == numbers.model_copy(update={"task": "classification"})


def test_only_rows_that_folds_may_see_count(houses: Profile) -> None:
    """Neither those without a target nor the holdout's make a table large."""
    columns = [
        column.model_copy(update={"missing": 100 if column.name == "price" else 0})
        for column in houses.columns
    ]
    gappy = houses.model_copy(update={"columns": columns})
    assert bins(recipe(gappy, MANY_ROWS + 100)) == 32
    assert bins(recipe(gappy, MANY_ROWS + 99)) == 16
    assert bins(recipe(houses, MANY_ROWS + 500, holdout={"fraction": 0.1})) == 16


def test_what_the_spec_says_is_kept(houses: Profile) -> None:
    given: dict[str, Any] = {
        "batch_size": 32,
        "max_epochs": 7,
        "members_per_fold": 1,
        "early_stopping": {"patience": 3},
        "optimizer": {"learning_rate": 0.5, "gradient_clip": 1.0},
    }
    spec = recipe(houses, MANY_ROWS, **given)
    assert (spec.batch_size, spec.max_epochs, spec.members_per_fold) == (32, 7, 1)
    assert spec.early_stopping == EarlyStopping(patience=3)
    assert (spec.optimizer.learning_rate, spec.optimizer.gradient_clip) == (0.5, 1.0)
    assert spec.optimizer.schedule == "cosine"


def test_the_rate_is_not_for_sgd(houses: Profile) -> None:
    default = TrainingSpec.model_validate({"target": "price"}).optimizer.learning_rate
    spec = recipe(houses, VERY_MANY_ROWS, optimizer={"name": "sgd"})
    assert (spec.optimizer.name, spec.optimizer.learning_rate) == ("sgd", default)


def test_a_spec_with_an_architecture_is_left_alone(houses: Profile) -> None:
    explicit = recipe(houses, MANY_ROWS, architecture={"type": "mlp"})
    assert explicit == TrainingSpec.model_validate(
        {"target": "price", "architecture": {"type": "mlp"}}
    )


LINE: dict[str, Any] = {"architecture": {"type": "linear"}}


def test_a_straight_line_stays_where_least_squares_puts_it(houses: Profile) -> None:
    """At any size of the table: its rows do not bend it."""
    plain = TrainingSpec.model_validate({"target": "price", **LINE})
    for rows in (1_460, VERY_MANY_ROWS):
        line = recipe(houses, rows, **LINE)
        assert line.early_stopping is None
        assert line.optimizer == plain.optimizer.model_copy(update={"schedule": "cosine"})
        assert line.preprocessing == plain.preprocessing.model_copy(
            update={"numeric_scaling": "standard"}
        )
        changed = {"early_stopping", "optimizer", "preprocessing"}
        assert line.model_dump(exclude=changed) == plain.model_dump(exclude=changed)


def test_what_the_spec_of_a_straight_line_says_is_kept(houses: Profile) -> None:
    given: dict[str, Any] = {
        "early_stopping": {"patience": 3},
        "optimizer": {"schedule": "constant"},
        "preprocessing": {"numeric_scaling": "robust"},
    }
    line = recipe(houses, 1_460, **LINE, **given)
    assert line == TrainingSpec.model_validate({"target": "price", **LINE, **given})
