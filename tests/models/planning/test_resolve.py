"""A spec against a table: what is filled in, refused, warned of and estimated."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from houses import LIMITS, house_frame, lay

from models.data.features import Feature, select
from models.members import members_of
from models.networks import build_network
from models.networks.population import Shape
from models.planning.estimate import Machine, estimate, input_width, parameters
from models.planning.faults import SpecError
from models.planning.resolve import resolve
from models.planning.review.settings import settings_warnings
from models.spec import TrainingSpec
from models.tables.profile import Profile, profile
from models.tables.table import read_table

ROWS = 40
LINE: dict[str, Any] = {"architecture": {"type": "linear"}}
KERNEL: dict[str, Any] = {"architecture": {"type": "kernel"}}
MLP: dict[str, Any] = {"architecture": {"type": "mlp", "hidden_sizes": [8]}}


def profile_of(frame: pd.DataFrame) -> Profile:
    return profile(read_table(io.BytesIO(frame.to_csv(index=False).encode()), LIMITS))


def spec_of(**spec: Any) -> TrainingSpec:
    return TrainingSpec.model_validate({"target": "price", **spec})


@pytest.fixture(scope="module")
def houses() -> Profile:
    """Columns of every kind beside those of `house_frame`."""
    frame = house_frame(ROWS)
    frame["PropertyId"] = np.arange(1001, 1001 + ROWS)
    frame["remarks"] = [f"a house with a long story, number {i}" for i in range(ROWS)]
    frame["country"] = "here"
    frame["garden"] = np.arange(ROWS) % 2
    frame["a/b~c"] = np.arange(ROWS) * 1.5
    frame["loss"] = np.linspace(-1, 3, ROWS)
    frame["seen"] = frame["sold"].mask(np.arange(ROWS) % 5 == 0)
    return profile_of(frame)


# Resolving.


def test_every_default_is_filled_in(houses: Profile) -> None:
    resolved = resolve(spec_of(features={"exclude": ["loss"]}), houses)
    assert resolved.features.exclude == ["loss", "PropertyId", "remarks", "country"]
    assert resolved.features.kinds == {
        "area": "numeric",
        "year": "numeric",
        "quarter": "categorical",
        "heating": "categorical",
        "stars": "numeric",
        "sold": "numeric",
        "garden": "numeric",
        "a/b~c": "numeric",
        "seen": "numeric",
    }
    assert resolved.preprocessing.target_transform == "none"


def test_the_resolved_spec_resolves_to_itself(houses: Profile) -> None:
    for spec in (
        spec_of(),
        spec_of(folds={"type": "group", "column": "quarter"}, k_folds=2),
        spec_of(folds={"type": "time", "column": "sold"}),
        spec_of(features={"kinds": {"PropertyId": "numeric", "year": "categorical"}}),
    ):
        resolved = resolve(spec, houses)
        assert resolve(resolved, houses) == resolved
        assert TrainingSpec.model_validate(resolved.model_dump(mode="json")) == resolved


def test_a_kind_of_the_users_beats_the_profiles(houses: Profile) -> None:
    kinds = {"PropertyId": "categorical", "country": "categorical", "year": "categorical"}
    resolved = resolve(spec_of(features={"kinds": kinds}), houses)
    assert resolved.features.kinds.items() >= kinds.items()
    assert resolved.features.exclude == ["remarks"]


def test_the_column_of_group_folds_is_no_feature(houses: Profile) -> None:
    """Its levels are never seen in training: each lies in one fold."""
    resolved = resolve(spec_of(k_folds=2, folds={"type": "group", "column": "quarter"}), houses)
    assert "quarter" in resolved.features.exclude
    assert "quarter" not in resolved.features.kinds


def test_the_column_of_time_folds_stays_a_feature(houses: Profile) -> None:
    resolved = resolve(spec_of(folds={"type": "time", "column": "sold"}), houses)
    assert resolved.features.kinds["sold"] == "numeric"


@pytest.mark.parametrize(
    ("targets", "transform"),
    [
        (np.exp(np.linspace(0, 6, ROWS)), "log"),  # positive, skewed
        (np.linspace(1, 2, ROWS), "none"),  # positive, even
        (np.exp(np.linspace(0, 6, ROWS)) - 1, "none"),  # skewed, and one is zero
        (-np.exp(np.linspace(0, 6, ROWS)), "none"),  # skewed and negative
    ],
)
def test_log_is_the_default_for_skewed_positive_targets(
    targets: np.ndarray, transform: str
) -> None:
    table = profile_of(pd.DataFrame({"area": np.arange(ROWS) * 1.5, "price": targets}))
    assert resolve(spec_of(), table).preprocessing.target_transform == transform


def test_a_transform_of_the_users_is_kept(houses: Profile) -> None:
    asked = spec_of(preprocessing={"target_transform": "none"})
    assert resolve(asked, houses).preprocessing.target_transform == "none"


@pytest.mark.parametrize(
    ("spec", "fractions", "watched"),
    [
        (
            {"members": [MLP | {"early_stopping": {"fraction": 0.2}}, MLP]}
            | {"early_stopping": {"fraction": 0.2}},
            [0.2, 0.2],
            0.2,
        ),
        (
            {"members": [KERNEL, LINE, MLP | {"early_stopping": {"fraction": 0.2}}]},
            [None, None, 0.2],
            0.2,
        ),
        (
            {"members": [MLP, MLP | {"early_stopping": {"fraction": 0.3}}], "early_stopping": None},
            [None, 0.3],
            0.3,
        ),
        ({"members": [KERNEL, LINE]}, [None, None], None),
    ],
)
def test_members_watch_the_rows_of_the_spec(
    houses: Profile, spec: dict[str, Any], fractions: list[float | None], watched: float | None
) -> None:
    """Those that are solved, and lines, watch none."""
    resolved = resolve(spec_of(**spec), houses)
    stopping = [trial.early_stopping for trial in resolved.trials()]
    assert [own and own.fraction for own in stopping] == fractions
    assert resolved.watched_fraction == watched
    assert resolve(resolved, houses) == resolved


# Refusing.

REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "exclude unknown": (
        {"features": {"exclude": ["area", "pool"]}},
        "/features/exclude/1",
        "'pool'",
    ),
    "exclude target": ({"features": {"exclude": ["price"]}}, "/features/exclude/0", "target"),
    "kind unknown": (
        {"features": {"kinds": {"x/y~z": "numeric"}}},
        "/features/kinds/x~1y~0z",
        "'x/y~z'",
    ),
    "kind of target": ({"features": {"kinds": {"price": "numeric"}}}, "/features/kinds/price", ""),
    "kind of excluded": (
        {"features": {"kinds": {"a/b~c": "numeric"}, "exclude": ["a/b~c"]}},
        "/features/kinds/a~1b~0c",
        "excluded",
    ),
    "numeric words": (
        {"features": {"kinds": {"quarter": "numeric"}}},
        "/features/kinds/quarter",
        "words",
    ),
    "dates as words": (
        {"features": {"kinds": {"sold": "categorical"}}},
        "/features/kinds/sold",
        "dates",
    ),
    "no such target": ({"target": "Price"}, "/target", "'Price'"),
    "target of words": ({"target": "quarter", "task": "regression"}, "/target", "holds words"),
    "target of dates": ({"target": "sold"}, "/target", "holds dates"),
    "classes of dates": ({"target": "sold", "task": "classification"}, "/target", "holds dates"),
    "one class": ({"target": "country"}, "/target", "nothing to learn"),
    "perceptron of a number": ({"architecture": {"type": "perceptron"}}, "/architecture/type", ""),
    "ridge of classes": (
        {"target": "quarter", "architecture": {"type": "ridge"}},
        "/architecture/type",
        "kernel and ridge predict numbers; use linear, mlp or boosted_trees",
    ),
    "kernel of absolute errors": (
        {"loss": "absolute_error", "architecture": {"type": "kernel"}},
        "/loss",
        "'squared_error', not 'absolute_error'",
    ),
    "trees of margins": (
        {"target": "quarter", "loss": "hinge", "architecture": {"type": "boosted_trees"}},
        "/loss",
        "'cross_entropy'",
    ),
    "loss of classes for a number": ({"loss": "hinge"}, "/loss", "'squared_error'"),
    "loss of a number for classes": (
        {"target": "quarter", "loss": "huber"},
        "/loss",
        "'cross_entropy'",
    ),
    "smoothing of a number": ({"label_smoothing": 0.1}, "/label_smoothing", "applies to classes"),
    "weights of a number": ({"class_weights": "balanced"}, "/class_weights", "applies to classes"),
    "rare classes of a number": ({"rare_classes": "merge"}, "/rare_classes", "applies to classes"),
    "decision for a number": ({"decision": {"threshold": 0.2}}, "/decision", "applies to classes"),
    "smoothing of a margin": (
        {"target": "quarter", "loss": "hinge", "label_smoothing": 0.1},
        "/label_smoothing",
        "'hinge'",
    ),
    "decision between four": (
        {"target": "quarter", "decision": {"positive": "mill"}},
        "/decision",
        "two classes",
    ),
    "log of classes": (
        {"target": "quarter", "preprocessing": {"target_transform": "log"}},
        "/preprocessing/target_transform",
        "numbers",
    ),
    "mean of classes": (
        {"target": "quarter", "preprocessing": {"retransform": "mean"}},
        "/preprocessing/retransform",
        "numbers",
    ),
    "log of a negative": (
        {"target": "loss", "preprocessing": {"target_transform": "log"}},
        "/preprocessing/target_transform",
        "-1",
    ),
    "too many folds": ({"k_folds": 21}, "/k_folds", "between 2 and 20"),
    "too many folds beside a holdout": (
        {"k_folds": 20, "holdout": {"fraction": 0.3}},
        "/k_folds",
        "between 2 and 14",
    ),
    "a learning curve of few rows": (
        {"learning_curve": True},
        "/learning_curve",
        "80 training rows",
    ),
    "no such layer": (
        {"architecture": {"type": "mlp", "hidden_sizes": [8, 4]}, "freeze": ["hidden.2"]},
        "/freeze/0",
        "it has hidden.0, hidden.1, output",
    ),
    "nothing left to learn": (
        {"architecture": {"type": "linear"}, "freeze": ["output"]},
        "/freeze",
        "nothing is left to learn",
    ),
    "frozen trees": (
        {"architecture": {"type": "boosted_trees"}, "freeze": ["hidden.0"]},
        "/freeze",
        "no network",
    ),
    "no such fold column": (
        {"folds": {"type": "group", "column": "street"}},
        "/folds/column",
        "'street'",
    ),
    "folds by target": ({"folds": {"type": "group", "column": "price"}}, "/folds/column", "target"),
    "too few groups": (
        {"folds": {"type": "group", "column": "heating"}, "k_folds": 4},
        "/folds/column",
        "3 groups",
    ),
    "words are no time": (
        {"folds": {"type": "time", "column": "quarter"}},
        "/folds/column",
        "no order in time",
    ),
    "missing times": ({"folds": {"type": "time", "column": "seen"}}, "/folds/column", "8 rows"),
    "a perceptron in a blend": (
        {"target": "quarter", "members": [MLP, {"architecture": {"type": "perceptron"}}]},
        "/members/1/architecture/type",
        "use 'linear'",
    ),
    "a kernel in a blend of classes": (
        {"target": "quarter", "members": [MLP, KERNEL]},
        "/members/1/architecture/type",
        "kernel and ridge predict numbers",
    ),
    "a kernel in a blend of absolute errors": (
        {"loss": "absolute_error", "members": [MLP, KERNEL]},
        "/loss",
        "'squared_error', not 'absolute_error'",
    ),
    "a batch of one row in a blend": (
        {
            "members": [LINE, {"architecture": {"type": "mlp", "normalization": "batch"}}],
            "batch_size": 1,
        },
        "/members/1/batch_size",
        "batch normalization",
    ),
    "members that watch other rows": (
        {"members": [MLP, KERNEL, MLP | {"early_stopping": {"fraction": 0.2}}]},
        "/members/2/early_stopping/fraction",
        "one fraction",
    ),
    "a member that watches other rows than the spec": (
        {
            "members": [MLP, MLP | {"early_stopping": {"fraction": 0.1}}],
            "early_stopping": {"fraction": 0.2},
        },
        "/members/1/early_stopping/fraction",
        "one fraction",
    ),
    "group means of no column": (
        {"features": {"group_means": ["quarter", "street"]}},
        "/features/group_means/1",
        "no column 'street'",
    ),
    "group means of the target": (
        {"features": {"group_means": ["price"]}},
        "/features/group_means/0",
        "target",
    ),
    "group means of an excluded column": (
        {"features": {"group_means": ["area", "year"], "exclude": ["year"]}},
        "/features/group_means/1",
        "not a feature",
    ),
    "comparables without a place": (
        {"features": {"comparables": ["attributes", "location"]}},
        "/features/comparables/1",
        "features.coordinates",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_names_its_place(houses: Profile, name: str) -> None:
    spec, pointer, words = REFUSALS[name]
    with pytest.raises(SpecError) as caught:
        resolve(spec_of(**spec), houses)
    assert [fault.pointer for fault in caught.value.faults] == [pointer]
    assert words in caught.value.faults[0].detail
    assert caught.value.faults[0].detail in str(caught.value)


def test_a_target_with_too_many_words_names_one() -> None:
    prices = ["on request" if row % 5 == 0 else f"${row}.50" for row in range(ROWS)]
    table = profile_of(pd.DataFrame({"area": np.arange(ROWS) * 1.5, "price": prices}))
    with pytest.raises(SpecError, match=r"set task to 'classification'.*'on request'"):
        resolve(spec_of(), table)
    assert resolve(spec_of(task="classification"), table).loss == "cross_entropy"


def test_a_few_levels_that_look_like_numbers_are_classes() -> None:
    rooms = ["1", "2", "3 or more", "unknown"] * (ROWS // 4)
    table = profile_of(pd.DataFrame({"area": np.arange(ROWS) * 1.5, "price": rooms}))
    assert any(warning.code == "mixed_numbers" for warning in table.warnings)
    assert resolve(spec_of(), table).task == "classification"


def test_a_constant_target_is_refused() -> None:
    table = profile_of(pd.DataFrame({"area": np.arange(ROWS) * 1.5, "price": [7.0] * ROWS}))
    with pytest.raises(SpecError) as caught:
        resolve(spec_of(), table)
    assert [fault.pointer for fault in caught.value.faults] == ["/target"]


def test_targets_whose_squares_vanish_are_refused() -> None:
    """Otherwise any prediction would have an R² of 1."""
    frame = house_frame(ROWS)
    frame["price"] *= 1e-300
    with pytest.raises(SpecError, match="use another unit"):
        resolve(spec_of(), profile_of(frame))


def test_targets_whose_squares_overflow_are_refused() -> None:
    frame = house_frame(ROWS)
    frame["price"] *= 1e200
    with pytest.raises(SpecError, match="another unit") as caught:
        resolve(spec_of(), profile_of(frame))
    assert [fault.pointer for fault in caught.value.faults] == ["/target"]


def test_rows_without_a_target_do_not_count_for_the_folds() -> None:
    frame = house_frame(ROWS)
    frame.loc[10:, "price"] = np.nan
    with pytest.raises(SpecError) as caught:
        resolve(spec_of(k_folds=6), profile_of(frame))
    assert "between 2 and 5 for 10 rows" in caught.value.faults[0].detail


def test_everything_wrong_is_said_at_once(houses: Profile) -> None:
    spec = spec_of(
        features={"exclude": ["pool"], "kinds": {"quarter": "numeric"}},
        k_folds=50,
        folds={"type": "time", "column": "nowhere"},
    )
    with pytest.raises(SpecError) as caught:
        resolve(spec, houses)
    assert [fault.pointer for fault in caught.value.faults] == [
        "/features/exclude/0",
        "/features/kinds/quarter",
        "/k_folds",
        "/folds/column",
    ]


def test_a_table_needs_a_column_to_predict_from() -> None:
    frame = pd.DataFrame({"Id": np.arange(ROWS), "price": np.linspace(1, 9, ROWS)})
    with pytest.raises(SpecError) as caught:
        resolve(spec_of(), profile_of(frame))
    assert [fault.pointer for fault in caught.value.faults] == ["/features"]


# Selecting, reviewing, estimating.


def test_no_column_is_left_for_reasons_that_are_named() -> None:
    rows = range(40)
    frame = pd.DataFrame({"no": [f"n{i}" for i in rows], "same": 1, "area": rows, "price": rows})
    with pytest.raises(SpecError) as caught:
        resolve(spec_of(features={"exclude": ["area"]}), profile_of(frame))
    assert str(caught.value) == (
        "no column is left to predict from: 'no' (it names rows and says nothing about the next "
        "one), 'same' (it has one value), 'area' (it is excluded); to use one anyway, "
        'set features.kinds: {"no": "categorical"}'
    )


def test_the_included_columns_are_the_features(houses: Profile) -> None:
    resolved = resolve(spec_of(features={"include": ["area", "PropertyId", "quarter"]}), houses)
    assert [*resolved.features.kinds] == ["area", "quarter", "PropertyId"]
    assert resolved.features.include is None
    assert "year" in resolved.features.exclude
    assert resolve(resolved, houses) == resolved


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({"features": {"include": ["nothing"]}}, "/features/include/0"),
        ({"features": {"include": ["area", "price"]}}, "/features/include/1"),
        (
            {"features": {"include": ["area"], "kinds": {"year": "categorical"}}},
            "/features/kinds/year",
        ),
        (
            {
                "features": {"include": ["area", "quarter"]},
                "folds": {"type": "group", "column": "quarter"},
                "k_folds": 2,
            },
            "/features/include/1",
        ),
    ],
)
def test_what_cannot_be_included(houses: Profile, spec: dict[str, Any], pointer: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolve(spec_of(**spec), houses)
    assert pointer in [fault.pointer for fault in caught.value.faults]


def test_include_and_exclude_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="'include' and 'exclude' contradict each other"):
        spec_of(features={"include": ["area"], "exclude": ["year"]})


def test_the_features_stand_in_the_order_of_the_table(houses: Profile) -> None:
    kinds = {"year": "categorical"}
    exclude = ["garden", "a/b~c", "loss", "seen"]
    resolved = resolve(spec_of(features={"kinds": kinds, "exclude": exclude}), houses)
    assert select(resolved, houses) == [
        Feature("area", "numeric"),
        Feature("year", "categorical"),
        Feature("quarter", "categorical"),
        Feature("heating", "categorical"),
        Feature("stars", "numeric"),
        Feature("sold", "datetime"),
    ]


def codes_of(spec: TrainingSpec, table: Profile) -> set[tuple[str, str | None]]:
    return {
        (warning.code, warning.column) for warning in settings_warnings(resolve(spec, table), table)
    }


def test_a_sound_spec_has_no_warnings(houses: Profile) -> None:
    assert codes_of(spec_of(architecture={"type": "linear"}), houses) == set()


@pytest.mark.parametrize(
    ("column", "code"),
    [
        ("PropertyId", "identifier_kept"),
        ("remarks", "text_kept"),
        ("country", "constant_kept"),
    ],
)
def test_a_column_that_is_kept_against_advice(houses: Profile, column: str, code: str) -> None:
    spec = spec_of(
        architecture={"type": "mlp", "hidden_sizes": [1]},
        features={"kinds": {column: "categorical"}},
    )
    assert (code, column) in codes_of(spec, houses)


def test_rows_without_a_target_are_warned_of() -> None:
    frame = house_frame(ROWS)
    frame.loc[:2, "price"] = np.nan
    table = profile_of(frame)
    warnings = settings_warnings(resolve(spec_of(architecture={"type": "linear"}), table), table)
    assert [(w.code, w.column) for w in warnings] == [("target_missing", "price")]
    assert "3 rows" in warnings[0].detail


def test_more_weights_than_rows_are_warned_of(houses: Profile) -> None:
    def warned(units: int) -> bool:
        spec = spec_of(architecture={"type": "mlp", "hidden_sizes": [units]})
        return ("capacity_exceeds_data", None) in codes_of(spec, houses)

    assert not warned(1)
    assert warned(256)


@pytest.mark.parametrize(
    ("spec", "warned"),
    [
        ({}, False),
        ({"architecture": {"type": "linear"}}, False),
        ({"weight_decay": 1e-4}, True),
        ({"weight_decay": 1e-2, "max_epochs": 10_000, "batch_size": 1}, False),
        ({"weight_decay": 1e-4, "optimizer": {"name": "sgd", "learning_rate": 50}}, False),
        ({"weight_decay": 100, "optimizer": {"schedule": "constant"}}, False),
    ],
)
def test_decay_that_shrinks_nothing_is_warned_of(
    houses: Profile, spec: dict[str, Any], warned: bool
) -> None:
    assert (("decay_without_effect", None) in codes_of(spec_of(**spec), houses)) is warned


def test_networks_of_a_blend_that_decay_alike_have_one_warning(houses: Profile) -> None:
    """Members that are solved do not decay."""
    alike, other = {**MLP, "dropout": 0.1}, {**MLP, "weight_decay": 2e-4}
    spec = resolve(spec_of(members=[MLP, KERNEL, alike, other], weight_decay=1e-4), houses)
    found = [w for w in settings_warnings(spec, houses) if w.code == "decay_without_effect"]
    assert [warning.detail[:20] for warning in found] == [
        "weight_decay 0.0001 ",
        "weight_decay 0.0002 ",
    ]


def test_the_decay_that_is_advised_is_felt() -> None:
    """Half of a weight is what is left after as many steps as are planned."""
    table = profile_of(house_frame(ROWS))
    constant = {"schedule": "constant"}
    spec = resolve(spec_of(weight_decay=1e-4, optimizer=constant), table)
    [advice] = [w for w in settings_warnings(spec, table) if w.code == "decay_without_effect"]
    found = re.search(r"planned ([0-9,]+) steps.* about ([0-9.e+-]+),", advice.detail)
    assert found is not None
    steps, decay = int(found[1].replace(",", "")), float(found[2])
    left = (1 - spec.optimizer.learning_rate * decay) ** steps
    assert left == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    "architecture", [{"type": "linear"}, {"type": "mlp", "hidden_sizes": [9, 4]}]
)
def test_the_estimated_size_is_the_size(tmp_path: Path, architecture: dict[str, Any]) -> None:
    case = lay(tmp_path, house_frame(ROWS), architecture=architecture)
    shape = Shape(len(case.design.numeric), input_width(case.spec, case.profile), 1)
    network = build_network(members_of([case.spec]), shape)
    weights = sum(p[0].numel() for p in network.parameters())
    assert parameters(case.spec, case.profile) == weights
    levels = sum(len(vocabulary.levels) for vocabulary in case.design.categorical)
    assert input_width(case.spec, case.profile) == len(case.design.numeric) + levels


def test_an_estimate_grows_with_what_it_is_asked(houses: Profile) -> None:
    machine = Machine(cores=1, core_rate=2e9)
    few = resolve(spec_of(max_epochs=10, k_folds=2), houses)
    many = resolve(spec_of(max_epochs=1000, k_folds=10), houses)
    small, large = estimate(few, houses, machine), estimate(many, houses, machine)
    assert 0 < small.seconds < large.seconds
    assert 0 < small.memory_bytes < large.memory_bytes
    faster = estimate(many, houses, Machine(cores=2, core_rate=4e9))
    assert large.seconds / 4 < faster.seconds < large.seconds / 2
