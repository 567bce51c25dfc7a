"""What a spec without an architecture trains, by its effort, its task and the size of the table."""

from __future__ import annotations

from typing import Any

import pytest
from houses import house_frame, lay

from models.planning.recipe import (
    DROPOUTS,
    FEWER_EPOCHS,
    LINE_ROWS,
    MANY_ROWS,
    VERY_MANY_ROWS,
    apply_recipe,
)
from models.spec import EarlyStopping, TrainingSpec
from models.spec.architectures import MlpArchitecture, PiecewiseLinear
from models.tables.profile import Profile


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return lay(tmp_path_factory.mktemp("houses"), house_frame()).profile


def of_classes(houses: Profile, classes: int) -> Profile:
    columns = [
        column.model_copy(update={"distinct": classes}) if column.name == "price" else column
        for column in houses.columns
    ]
    return houses.model_copy(update={"columns": columns})


def recipe(houses: Profile, rows: int, **spec: Any) -> TrainingSpec:
    described = TrainingSpec.model_validate({"target": "price", "task": "regression", **spec})
    if described.task == "classification":
        houses = of_classes(houses, 5)
    return apply_recipe(described, houses.model_copy(update={"rows": rows}))


def quick(houses: Profile, rows: int, **spec: Any) -> TrainingSpec:
    """One network."""
    found = recipe(houses, rows, effort="quick", **spec)
    assert found.members is None
    return found


def members_of(spec: TrainingSpec) -> list[str]:
    return [trial.architecture.type for trial in spec.trials()]


def networks_of(spec: TrainingSpec) -> list[TrainingSpec]:
    return [trial for trial in spec.trials() if not trial.architecture.is_fitted]


def bins(spec: TrainingSpec) -> int:
    assert isinstance(spec.architecture, MlpArchitecture)
    assert isinstance(spec.architecture.numeric_embedding, PiecewiseLinear)
    return spec.architecture.numeric_embedding.bins


def test_one_network_follows_the_size_of_the_table(houses: Profile) -> None:
    small, large, huge = (quick(houses, n) for n in (1_460, MANY_ROWS, VERY_MANY_ROWS))
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
    few, many = (quick(houses, n, task="classification") for n in (MANY_ROWS - 1, MANY_ROWS))
    assert few.architecture.model_dump()["numeric_embedding"] is None
    assert (few.batch_size, few.optimizer.learning_rate, few.max_epochs) == (32, 2e-3, 60)
    assert (few.members_per_fold, few.early_stopping) == (2, EarlyStopping())
    numbers = quick(houses, MANY_ROWS)
    assert many == numbers.model_copy(update={"task": "classification"})


def test_only_rows_that_folds_may_see_count(houses: Profile) -> None:
    """Neither those without a target nor the holdout's make a table large."""
    columns = [
        column.model_copy(update={"missing": 100 if column.name == "price" else 0})
        for column in houses.columns
    ]
    gappy = houses.model_copy(update={"columns": columns})
    assert bins(quick(gappy, MANY_ROWS + 100)) == 32
    assert bins(quick(gappy, MANY_ROWS + 99)) == 16
    assert bins(quick(houses, MANY_ROWS + 500, holdout={"fraction": 0.1})) == 16
    blends = [recipe(gappy, MANY_ROWS + more) for more in (99, 100)]
    assert [networks_of(spec)[0].max_epochs for spec in blends] == [60, FEWER_EPOCHS]


@pytest.mark.parametrize("rows", [1_460, MANY_ROWS, VERY_MANY_ROWS])
@pytest.mark.parametrize("effort", ["standard", "thorough"])
def test_without_an_architecture_a_blend_is_trained(
    houses: Profile, effort: str, rows: int
) -> None:
    numbers = recipe(houses, rows, effort=effort)
    is_large = effort == "standard" and rows >= MANY_ROWS
    solved = ["boosted_trees"] if is_large else ["boosted_trees", "kernel"]
    assert members_of(numbers) == ["mlp", "mlp", *solved]
    first, second = networks_of(numbers)
    assert (first.dropout, second.dropout) == DROPOUTS
    assert second == first.model_copy(update={"dropout": second.dropout})
    alone = quick(houses, rows).model_copy(update={"effort": effort})
    if is_large:
        alone = alone.model_copy(update={"max_epochs": FEWER_EPOCHS, "members_per_fold": 1})
    assert first == alone
    for trial in numbers.trials()[2:]:
        assert (trial.max_epochs, trial.early_stopping) == (1, None)
    classes = recipe(houses, rows, effort=effort, task="classification")
    assert members_of(classes) == ["mlp", "boosted_trees"]
    assert networks_of(classes)[0].dropout == DROPOUTS[0]


@pytest.mark.parametrize("effort", ["standard", "thorough"])
def test_few_rows_have_a_line_too(houses: Profile, effort: str) -> None:
    few, more = (recipe(houses, rows, effort=effort) for rows in (LINE_ROWS - 1, LINE_ROWS))
    assert members_of(few) == [*members_of(more), "ridge"]
    for other in ({"loss": "huber"}, {"task": "classification"}):
        assert "ridge" not in members_of(recipe(houses, LINE_ROWS - 1, effort=effort, **other))


def test_many_classes_have_no_trees(houses: Profile) -> None:
    spec = {"target": "price", "task": "classification"}
    for classes, members in ((20, ["mlp", "boosted_trees"]), (21, ["mlp"])):
        profile = of_classes(houses, classes)
        found = apply_recipe(TrainingSpec.model_validate(spec), profile)
        assert members_of(found) == members


def test_standard_is_the_default(houses: Profile) -> None:
    assert recipe(houses, MANY_ROWS) == recipe(houses, MANY_ROWS, effort="standard")


@pytest.mark.parametrize(
    ("task", "loss", "members"),
    [
        ("regression", "squared_error", ["mlp", "mlp", "boosted_trees", "kernel"]),
        ("regression", "absolute_error", ["mlp", "mlp", "boosted_trees"]),
        ("regression", "huber", ["mlp", "mlp", "boosted_trees"]),
        ("classification", "cross_entropy", ["mlp", "boosted_trees"]),
        ("classification", "hinge", ["mlp"]),
        ("classification", "perceptron", ["mlp"]),
    ],
)
def test_members_are_those_that_learn_the_loss(
    houses: Profile, task: str, loss: str, members: list[str]
) -> None:
    spec = recipe(houses, 1_460, task=task, loss=loss)
    assert members_of(spec) == members
    assert (spec.members is None) == (len(members) == 1)


@pytest.mark.parametrize("effort", ["quick", "standard"])
def test_what_the_spec_says_is_kept(houses: Profile, effort: str) -> None:
    given: dict[str, Any] = {
        "batch_size": 32,
        "max_epochs": 7,
        "members_per_fold": 3,
        "early_stopping": {"patience": 3},
        "optimizer": {"learning_rate": 0.5, "gradient_clip": 1.0},
    }
    networks = networks_of(recipe(houses, MANY_ROWS, effort=effort, **given))
    assert [spec.dropout for spec in networks] == (
        [*DROPOUTS] if effort == "standard" else [DROPOUTS[0]]
    )
    for spec in networks:
        assert (spec.batch_size, spec.max_epochs, spec.members_per_fold) == (32, 7, 3)
        assert spec.early_stopping == EarlyStopping(patience=3)
        assert (spec.optimizer.learning_rate, spec.optimizer.gradient_clip) == (0.5, 1.0)
        assert spec.optimizer.schedule == "cosine"
        assert bins(spec) == 32


def test_a_given_dropout_leaves_one_network(houses: Profile) -> None:
    spec = recipe(houses, MANY_ROWS - 1, dropout=0.2)
    assert members_of(spec) == ["mlp", "boosted_trees", "kernel"]
    assert networks_of(spec)[0].dropout == 0.2


def test_the_rate_is_not_for_sgd(houses: Profile) -> None:
    default = TrainingSpec.model_validate({"target": "price"}).optimizer.learning_rate
    for effort in ("quick", "standard"):
        spec = recipe(houses, VERY_MANY_ROWS, effort=effort, optimizer={"name": "sgd"})
        for network in networks_of(spec):
            assert (network.optimizer.name, network.optimizer.learning_rate) == ("sgd", default)


@pytest.mark.parametrize("effort", ["quick", "standard", "thorough"])
def test_a_spec_with_an_architecture_is_left_alone(houses: Profile, effort: str) -> None:
    given = {"architecture": {"type": "mlp"}, "effort": effort}
    explicit = recipe(houses, MANY_ROWS, **given)
    assert explicit == TrainingSpec.model_validate(
        {"target": "price", "task": "regression", **given}
    )


def test_what_a_member_leaves_out_it_has_from_the_spec(houses: Profile) -> None:
    """A member without an architecture is the recipe's network, unless the spec names one."""
    own: dict[str, Any] = {"dropout": 0.1, "weight_decay": 0.5, "seed": 7, "batch_size": 16}
    spec = recipe(
        houses,
        1_460,
        members=[own, {"architecture": {"type": "linear"}}, {"early_stopping": None}],
        dropout=0.4,
        max_epochs=9,
        seed=3,
    )
    first, line, third = spec.trials()
    for name, value in own.items():
        assert getattr(first, name) == value
    assert (first.max_epochs, line.max_epochs, third.max_epochs) == (9, 9, 9)
    assert (line.dropout, line.seed, third.dropout, third.seed) == (0.4, 3, 0.4, 3)
    assert first.early_stopping == EarlyStopping()
    assert line.early_stopping is third.early_stopping is None
    assert (bins(first), bins(third)) == (16, 16)
    assert line.optimizer.schedule == "cosine"
    tabm = recipe(houses, 1_460, architecture={"type": "tabm"}, members=[{}, {"dropout": 0.1}])
    assert members_of(tabm) == ["tabm", "tabm"]


def test_a_resolved_blend_stays_as_it_is(houses: Profile) -> None:
    """As stored and read again."""
    spec = recipe(houses, 1_460)
    again = TrainingSpec.model_validate(spec.model_dump(mode="json"))
    assert again == spec
    assert again.trials() == spec.trials()
    assert apply_recipe(again, houses) == spec


LINE: dict[str, Any] = {"architecture": {"type": "linear"}}


def test_a_straight_line_stays_where_least_squares_puts_it(houses: Profile) -> None:
    """At any size of the table: its rows do not bend it."""
    plain = TrainingSpec.model_validate({"target": "price", "task": "regression", **LINE})
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
        "task": "regression",
        "early_stopping": {"patience": 3},
        "optimizer": {"schedule": "constant"},
        "preprocessing": {"numeric_scaling": "robust"},
    }
    line = recipe(houses, 1_460, **LINE, **given)
    assert line == TrainingSpec.model_validate({"target": "price", **LINE, **given})
