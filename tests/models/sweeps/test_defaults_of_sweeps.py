"""What a sweep searches without a space of its own, and whether a table fits a space."""

from __future__ import annotations

from typing import Any

import pytest
from houses import house_frame, lay

from models.planning.faults import SpecError
from models.planning.resolve import resolve
from models.spec import TrainingSpec
from models.spec.sweep import SweepSpec
from models.sweeps.defaults import SPACES, complete
from models.sweeps.fields import architectures
from models.sweeps.sampling import draw
from models.sweeps.space import Space
from models.sweeps.table import check_table
from models.tables.profile import Profile

BELOW, ABOVE = 400, 60_000


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return lay(tmp_path_factory.mktemp("houses"), house_frame()).profile


def of_rows(houses: Profile, rows: int) -> Profile:
    return houses.model_copy(update={"rows": rows})


def space_of(profile: Profile, **sweep: Any) -> Space:
    return Space.of(complete(SweepSpec.model_validate(sweep), "price", profile), "price")


def types_of(space: Space) -> list[str]:
    return [host["type"] for host in space.hosts]


@pytest.mark.parametrize(
    ("rows", "spec", "types"),
    [
        (BELOW, {}, ["mlp", "realmlp", "tabm", "boosted_trees", "kernel", "ridge"]),
        (ABOVE, {}, ["mlp", "realmlp", "tabm", "boosted_trees", "ridge"]),
        (BELOW, {"loss": "huber"}, ["mlp", "realmlp", "tabm", "boosted_trees"]),
        (BELOW, {"task": "classification", "rare_classes": "merge"}, ["mlp", "realmlp", "tabm"]),
        (BELOW, {"architecture": {"type": "resnet"}}, ["resnet"]),
    ],
)
def test_architectures_that_suit_the_table(
    houses: Profile, rows: int, spec: dict[str, Any], types: list[str]
) -> None:
    assert types_of(space_of(of_rows(houses, rows), spec=spec)) == types


@pytest.mark.parametrize("rows", [BELOW, ABOVE])
def test_every_point_trains_on_the_table(houses: Profile, rows: int) -> None:
    profile = of_rows(houses, rows)
    space = space_of(profile)
    check_table(space, profile)
    widths = []
    for point in draw(space, "random", seed=0, first=0, count=60, known=[], minimize=True):
        spec = resolve(TrainingSpec.model_validate(space.document(point)), profile)
        assert spec.members is None
        widths += getattr(spec.architecture, "hidden_sizes", [])
    assert max(widths) <= 512


def test_ridge_has_nothing_to_search_and_is_tried_once(houses: Profile) -> None:
    space = space_of(houses)
    points = draw(space, "random", seed=0, first=0, count=60, known=[], minimize=True)
    types = [point["architecture"]["type"] for point in points]
    assert types.count("ridge") == 1
    assert {*types} == {*types_of(space)}


@pytest.mark.parametrize("architecture", sorted({*SPACES} - {"ridge", "perceptron"}))
def test_what_the_spec_sets_is_not_searched(houses: Profile, architecture: str) -> None:
    whole = space_of(houses, spec={"architecture": {"type": architecture}})
    names = [own.name for own in whole.dimensions]
    assert "architecture" not in names
    given: dict[str, Any] = {"architecture": {"type": architecture}, "lr": 0.01, "wd": 0.1}
    left = (
        [own.name for own in space_of(houses, spec=given | {"max_epochs": 7}).dimensions]
        if (architecture != "linear")
        else []
    )
    assert not {"optimizer.learning_rate", "weight_decay", "max_epochs"} & {*left}


def test_every_architecture_has_its_space() -> None:
    assert SPACES.keys() == architectures().keys()


@pytest.mark.parametrize(
    ("sweep", "pointer", "detail"),
    [
        ({"spec": {"architecture": {"type": "ridge"}}}, "/search_space", "nothing is left"),
        ({"sampler": "grid"}, "/search_space", "a grid needs"),
        (
            {"spec": {"k_folds": 50, "folds": {"type": "group", "column": "no"}}},
            "/spec/folds/column",
            "no column 'no'",
        ),
    ],
)
def test_a_default_that_cannot_be(
    houses: Profile, sweep: dict[str, Any], pointer: str, detail: str
) -> None:
    with pytest.raises(SpecError) as refused:
        complete(SweepSpec.model_validate(sweep), "price", houses)
    assert refused.value.faults[0].pointer == pointer
    assert detail in refused.value.faults[0].detail


def test_a_space_of_the_users_own_is_left_as_it_is(houses: Profile) -> None:
    sweep = SweepSpec.model_validate({"search_space": {"dropout": {"values": [0.1]}}})
    assert complete(sweep, "price", houses) is sweep


def test_what_the_table_does_not_allow_is_refused_with_its_place(houses: Profile) -> None:
    search_space = {
        "loss": {"choices": ["squared_error", "hinge"]},
        "architecture": {"choices": [{"type": "mlp"}, {"type": "perceptron"}]},
    }
    space = space_of(houses, search_space=search_space)
    with pytest.raises(SpecError) as refused:
        check_table(space, houses)
    pointers = [fault.pointer for fault in refused.value.faults]
    assert pointers == [
        "/search_space/architecture/choices/1",
        "/search_space/loss/choices/1",
    ]
    with pytest.raises(SpecError) as refused:
        check_table(
            space_of(
                houses,
                search_space={"dropout": {"choices": [0.1]}},
                spec={"features": {"exclude": ["nothing"]}},
            ),
            houses,
        )
    assert [fault.pointer for fault in refused.value.faults] == ["/spec/features/exclude/0"]
