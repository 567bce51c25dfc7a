"""What a sweep may search, and the training spec of each point."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models.planning.faults import SpecError
from models.spec import TrainingSpec
from models.spec.sweep import SweepSpec
from models.sweeps.fields import architectures
from models.sweeps.sampling import draw
from models.sweeps.space import Space

RATES = {"low": 1e-4, "high": 1e-2, "log": True}
THREE = {"choices": [{"type": "mlp"}, {"type": "tabm"}, {"type": "boosted_trees"}]}


def space_of(search_space: Any, **sweep: Any) -> Space:
    document = {"search_space": search_space, **sweep}
    return Space.of(SweepSpec.model_validate(document), "price")


def faults_of(search_space: Any, **sweep: Any) -> dict[str, str]:
    with pytest.raises(SpecError) as refused:
        space_of(search_space, **sweep)
    return {fault.pointer: fault.detail for fault in refused.value.faults}


def test_a_point_is_set_in_the_base() -> None:
    space = space_of(
        {"lr": RATES, "architecture": THREE, "architecture.hidden_sizes": {"choices": [[8], [4]]}},
        spec={"wd": 0.1, "k": 3, "optimizer": {"schedule": "cosine"}},
    )
    point = {
        "optimizer.learning_rate": 0.001,
        "architecture": {"type": "tabm", "ensemble_size": 4},
        "architecture.hidden_sizes": [8],
    }
    assert space.document(point) == {
        "target": "price",
        "weight_decay": 0.1,
        "k_folds": 3,
        "optimizer": {"schedule": "cosine", "learning_rate": 0.001},
        "architecture": {"type": "tabm", "ensemble_size": 4, "hidden_sizes": [8]},
    }
    assert space.base["optimizer"] == {"schedule": "cosine"}
    assert "ensemble_size" in point["architecture"]  # type: ignore[operator]


def test_a_trial_without_an_architecture_is_the_recipes_network() -> None:
    dropout = {"dropout": {"low": 0.1, "high": 0.5}}
    assert space_of(dropout).document({"dropout": 0.2})["effort"] == "quick"
    sizes = {"architecture.hidden_sizes": {"choices": [[8], [4]]}}
    document = space_of(sizes).document({"architecture.hidden_sizes": [8]})
    assert document["architecture"] == {"type": "mlp", "hidden_sizes": [8]}
    assert "effort" not in document


def test_parameters_apply_to_architectures_that_have_them() -> None:
    space = space_of(
        {
            "architecture": THREE,
            "dropout": {"low": 0, "high": 0.5},
            "architecture.hidden_sizes": {"choices": [[8], [4]]},
            "architecture.iterations": {"low": 100, "high": 1000},
            "preprocessing.numeric_scaling": {"choices": ["robust", "standard"]},
        }
    )
    listed = {own["name"]: own["architectures"] for own in space.parameters}
    assert listed == {
        "architecture": None,
        "dropout": ["mlp", "tabm"],
        "architecture.hidden_sizes": ["mlp", "tabm"],
        "architecture.iterations": ["boosted_trees"],
        "preprocessing.numeric_scaling": None,
    }


def test_each_architecture_may_have_its_own_parameter() -> None:
    space = space_of(
        {
            "architecture": THREE,
            "optimizer.learning_rate": [
                {"low": 1e-4, "high": 1e-3, "architectures": ["mlp"]},
                {"low": 1e-2, "high": 1e-1, "architectures": ["tabm"]},
            ],
        }
    )
    points = draw(space, "random", seed=0, first=0, count=30, known=[], minimize=True)
    rates: dict[str, list[float]] = {"mlp": [], "tabm": [], "boosted_trees": []}
    for point in points:
        if "optimizer.learning_rate" in point:
            rates[point["architecture"]["type"]].append(point["optimizer.learning_rate"])
    assert not rates["boosted_trees"]
    assert max(rates["mlp"]) <= 1e-3 < 1e-2 <= min(rates["tabm"])


@pytest.mark.parametrize(
    ("search_space", "pointer", "detail"),
    [
        ({"optimizer.larning_rate": RATES}, "", "did you mean 'optimizer.learning_rate'?"),
        ({"learning_rate": RATES}, "", "'architecture.learning_rate' or 'optimizer.learning_rate'"),
        ({"k_folds": {"choices": [3, 5]}}, "", "trials share the table"),
        ({"features.exclude": {"choices": [["a"]]}}, "", "trials share the table"),
        ({"early_stopping.fraction": RATES}, "", "the rows that they watch"),
        ({"members": {"choices": [None]}}, "", "a trial has one architecture"),
        ({"architecture.type": {"choices": ["mlp"]}}, "", "search whole architectures"),
        ({"architecture": RATES}, "", "one list of 'choices'"),
        ({"architecture.leaves": {"choices": [8]}}, "", "does not apply to 'mlp'"),
        ({"dropout": {"low": 0.1, "high": 1}}, "/high", "dropout must be below 1, got 1"),
        ({"dropout": {"low": 0.5, "high": 0.1}}, "/low", "must be below 'high', 0.1, got 0.5"),
        ({"dropout": {"low": 0.5, "high": 0.5}}, "/low", "must be below 'high'"),
        ({"dropout": {"low": 0.0, "high": 0.5, "log": True}}, "/low", "must be above 0 with 'log'"),
        ({"dropout": {"low": 0, "high": 0.5, "step": 0.2}}, "/step", "must divide high − low"),
        ({"dropout": {"low": 0, "high": 0.5, "step": 0}}, "/step", "must be above 0, got 0"),
        ({"max_epochs": {"low": 1, "high": 9, "log": True, "step": 2}}, "/step", "with 'log'"),
        ({"max_epochs": {"low": 1.0, "high": 9.0}}, "/low", "must be a valid integer, got 1.0"),
        ({"max_epochs": {"low": 1.5, "high": 9, "integer": True}}, "/low", "a whole number"),
        ({"optimizer.name": {"choices": ["adam", "lion"]}}, "/choices/1", 'got "lion"'),
        ({"seed": {"low": 0, "high": 2**62}}, "/high", "use a larger 'step'"),
        (
            {"early_stopping": {"choices": [None, {"fraction": 0.2}]}},
            "/choices/1/fraction",
            "all trials watch the same rows",
        ),
        (
            {"architecture": {"choices": [{"type": "mlp", "hidden_sizes": [8, 0]}]}},
            "/choices/0/hidden_sizes/1",
            "must be greater than or equal to 1, got 0",
        ),
    ],
)
def test_what_no_trial_could_use_is_refused_by_name(
    search_space: dict[str, Any], pointer: str, detail: str
) -> None:
    [(at, found)] = faults_of(search_space).items()
    assert at == f"/search_space/{next(iter(search_space))}{pointer}"
    assert detail in found


def test_a_name_is_escaped_in_its_pointer() -> None:
    assert [*faults_of({"a/b~": RATES})] == ["/search_space/a~1b~0"]


def test_all_faults_of_the_names_come_at_once() -> None:
    found = faults_of({"target": {"choices": ["a"]}, "dropuot": RATES, "dropout": RATES})
    assert [*found] == ["/search_space/target", "/search_space/dropuot"]


def test_a_field_and_its_parts_are_not_searched_at_once() -> None:
    found = faults_of({"optimizer": {"choices": [{"name": "sgd"}]}, "optimizer.momentum": RATES})
    assert found == {
        "/search_space/optimizer.momentum": "'optimizer' is searched as a whole: search it or its "
        "fields"
    }


def test_an_architecture_has_one_parameter_of_a_name() -> None:
    both = [{**RATES, "architectures": ["mlp"]}, {**RATES, "architectures": ["mlp", "tabm"]}]
    found = faults_of({"architecture": THREE, "lr": both})
    assert "'mlp' has two parameters" in found["/search_space/lr/1"]
    found = faults_of({"architecture": THREE, "lr": {**RATES, "architectures": ["boosted_trees"]}})
    assert "'mlp', 'tabm'" in found["/search_space/lr/architectures"]


def test_a_part_must_fit_every_architecture_that_is_searched() -> None:
    """The second has no embedding whose scale could be set."""
    waves = {"type": "mlp", "numeric_embedding": {"type": "periodic"}}
    scale = {"architecture.numeric_embedding.scale": {"low": 0.1, "high": 1.0}}
    found = faults_of(scale | {"architecture": {"choices": [waves, {"type": "mlp"}]}})
    assert "does not go with" in found["/search_space/architecture.numeric_embedding.scale"]
    assert space_of(scale, spec={"architecture": waves}).trials == 32


@pytest.mark.parametrize("name", ["members", "effort", "weights"])
def test_the_base_is_no_blend(name: str) -> None:
    assert [*faults_of({"dropout": {"choices": [0.1]}}, spec={name: "quick"})] == [f"/spec/{name}"]


def test_faults_of_the_base_point_into_it() -> None:
    found = faults_of(
        {"dropout": {"choices": [0.1]}}, spec={"k_folds": 1, "optimizer": {"rate": 1}}
    )
    assert found["/spec/k_folds"] == "must be greater than or equal to 2, got 1"
    assert found["/spec/optimizer/rate"] == "unknown field"
    found = faults_of({"dropout": {"choices": [0.1]}}, spec={"target": "price"})
    assert [*found] == ["/spec/target"]


def test_a_grid_is_all_combinations() -> None:
    space = space_of(
        {
            "architecture": THREE,
            "dropout": {"low": 0.1, "high": 0.3, "step": 0.1},
            "architecture.iterations": {"choices": [10, 20]},
        },
        sampler="grid",
    )
    assert space.trials == space.combinations == 3 + 3 + 2
    points = [space.combination(number) for number in range(8)]
    assert [point.get("dropout") for point in points[:3]] == [0.1, 0.2, 0.3]
    assert len({repr(point) for point in points}) == 8


def test_a_grid_too_large_is_counted_and_not_made() -> None:
    many = {"choices": [*range(1, 101)]}
    found = faults_of({"batch_size": many, "max_epochs": many}, sampler="grid")
    assert "10,000 combinations" in found["/search_space"]
    wide = {"low": 0, "high": 2**31 - 1}
    found = faults_of({"seed": wide, "dropout": many | {"choices": [0.1, 0.2]}}, sampler="grid")
    assert "4,294,967,296 combinations" in found["/search_space"]
    found = faults_of({"dropout": {"low": 0.0, "high": 0.5}}, sampler="grid")
    assert "add 'step'" in found["/search_space/dropout"]


def test_there_are_no_more_trials_than_combinations() -> None:
    two = {"dropout": {"choices": [0.1, 0.2]}}
    assert space_of(two, sampler="random").trials == 2
    assert space_of(two, sampler="grid", n_trials=1).trials == 1
    assert space_of({"dropout": {"low": 0.1, "high": 0.2}}, n_trials=500).trials == 500


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"values": [1, 2]}, {"choices": [1, 2]}),
        ({"value": 1}, {"choices": [1]}),
        ({"distribution": "constant", "value": 1}, {"choices": [1]}),
        ({"min": 1, "max": 2}, {"low": 1, "high": 2}),
        (
            {"distribution": "log_uniform_values", "min": 1.0, "max": 2.0},
            {"low": 1.0, "high": 2.0, "log": True},
        ),
        (
            {"distribution": "int_uniform", "min": 1, "max": 2},
            {"low": 1, "high": 2, "integer": True},
        ),
        (
            {"distribution": "q_uniform", "min": 1, "max": 2, "q": 0.5},
            {"low": 1, "high": 2, "step": 0.5},
        ),
    ],
)
def test_parameters_of_weights_and_biases(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    def read(given: dict[str, Any]) -> SweepSpec:
        return SweepSpec.model_validate({"search_space": {"batch_size": given}})

    assert read(theirs) == read(ours)


@pytest.mark.parametrize("distribution", ["log_uniform", "normal", 3])
def test_other_distributions_are_refused(distribution: Any) -> None:
    given = {"distribution": distribution, "min": 1, "max": 2}
    with pytest.raises(ValidationError, match="'log_uniform_values'"):
        SweepSpec.model_validate({"search_space": {"dropout": given}})


def test_whole_numbers_by_what_the_field_takes() -> None:
    space = space_of({"max_epochs": {"low": 1, "high": 3}, "weight_decay": {"low": 0, "high": 3}})
    points = draw(space, "random", seed=0, first=0, count=40, known=[], minimize=True)
    assert {point["max_epochs"] for point in points} == {1, 2, 3}
    assert all(isinstance(point["max_epochs"], int) for point in points)
    assert len({point["weight_decay"] for point in points}) == 40


def test_every_architecture_is_known() -> None:
    for name, model in architectures().items():
        assert model.model_validate({"type": name})
        assert TrainingSpec.model_validate({"target": "y", "architecture": {"type": name}})


@pytest.mark.parametrize(
    ("name", "more", "reason"),
    [
        ("preprocessing.numeric_missing", {}, "does not vary"),
        ("preprocessing", {}, "search its fields"),
        ("preprocessing.numeric_scaling", {"keep": "blend"}, "the trials of a blend share"),
        ("loss", {"keep": "blend"}, "the trials of a blend share"),
        ("loss", {"halving": {}}, "whose scale 'loss' changes"),
        ("preprocessing.target_transform", {"halving": {}}, "whose scale"),
    ],
)
def test_what_trials_cannot_differ_in(name: str, more: dict[str, Any], reason: str) -> None:
    sweep = SweepSpec.model_validate(
        {"search_space": {name: {"choices": ["mean", "none"]}}, **more}
    )
    with pytest.raises(SpecError) as refused:
        Space.of(sweep, "y")
    [fault] = refused.value.faults
    assert fault.pointer == f"/search_space/{name}"
    assert reason in fault.detail


def test_halving_takes_no_network_that_watches_no_rows() -> None:
    sweep: dict[str, Any] = {"halving": {}, "search_space": {"dropout": {"choices": [0.1, 0.2]}}}
    blind = {"early_stopping": {"choices": [{"patience": 4}, None]}}
    for given, pointer in (
        ({"spec": {"early_stopping": None}}, "/spec/early_stopping"),
        ({"search_space": blind}, "/search_space/early_stopping/choices/1"),
    ):
        with pytest.raises(SpecError) as refused:
            Space.of(SweepSpec.model_validate(sweep | given), "y")
        assert [fault.pointer for fault in refused.value.faults] == [pointer]
        assert Space.of(SweepSpec.model_validate(sweep | given | {"halving": None}), "y")
