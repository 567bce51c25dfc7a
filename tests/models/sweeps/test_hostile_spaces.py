"""Whatever is sent as a sweep is read, or refused in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.planning.faults import SpecError
from models.spec import TrainingSpec
from models.spec.sweep import SweepSpec
from models.sweeps.fields import architectures
from models.sweeps.sampling import draw
from models.sweeps.space import Space

NAMES = [
    *("dropout", "optimizer.learning_rate", "lr", "batch_size", "max_epochs", "seed", "precision"),
    *("early_stopping", "early_stopping.patience", "class_weights", "loss", "optimizer"),
    *("architecture", "architecture.hidden_sizes", "architecture.leaves", "architecture.type"),
    *("architecture.numeric_embedding.scale", "architecture.linear_path", "target", "members"),
    *("", ".", "..", "dropout.x", "optimizer.", "preprocessing", "no/such~field", "\ud800"),
]
NUMBERS = st.one_of(
    st.integers(-3, 300),
    st.floats(0, 1),
    st.sampled_from([0, -1, 10**400, -(10**30), 2**63, 1e300, 5e-324, float("nan"), float("inf")]),
)
SCALARS = st.one_of(NUMBERS, st.none(), st.booleans(), st.sampled_from(["", "mlp", "adam", "1"]))
ARCHITECTURES = st.sampled_from([*architectures(), "tree"]).map(lambda one: {"type": one})
VALUES = st.recursive(
    SCALARS | ARCHITECTURES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=5,
)
RANGES = st.fixed_dictionaries(
    {"low": NUMBERS, "high": NUMBERS},
    optional={
        "log": st.booleans(),
        "step": NUMBERS,
        "integer": st.booleans(),
        "architectures": st.lists(st.sampled_from([*architectures(), "tree"]), max_size=3),
    },
)
FOREIGN = st.fixed_dictionaries(
    {"min": NUMBERS, "max": NUMBERS},
    optional={
        "distribution": st.sampled_from(["uniform", "q_uniform", "log_uniform_values", "normal"]),
        "q": NUMBERS,
        "low": NUMBERS,
    },
)
PARAMETERS = st.one_of(
    RANGES,
    FOREIGN,
    st.fixed_dictionaries({"choices": st.lists(VALUES, max_size=4)}),
    st.fixed_dictionaries({"values": st.lists(SCALARS, max_size=4)}),
    VALUES,
)
SPACES = st.dictionaries(
    st.sampled_from(NAMES), PARAMETERS | st.lists(PARAMETERS, max_size=2), max_size=4
)


def read(document: dict[str, Any]) -> Space | None:
    """None: it was refused."""
    try:
        return Space.of(SweepSpec.model_validate(document), "price")
    except (SpecError, ValidationError):
        return None


@settings(max_examples=150, deadline=None)
@given(SPACES, st.sampled_from(["grid", "random", "tpe"]), st.dictionaries(st.text(), VALUES))
def test_a_sweep_is_read_or_refused(
    search_space: dict[str, Any], sampler: str, spec: dict[str, Any]
) -> None:
    document = {"search_space": search_space, "sampler": sampler}
    read(document | {"spec": spec})
    space = read(document)
    if space is None:
        return
    for point in draw(space, "random", seed=0, first=0, count=3, known=[], minimize=True):
        assert json.loads(json.dumps(point)) == point
        spec_of_trial = space.document(point)
        assert spec_of_trial["target"] == "price"


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["dropout", "lr", "batch_size", "weight_decay", "architecture.hidden_sizes"]),
    RANGES | st.fixed_dictionaries({"choices": st.lists(VALUES, min_size=1, max_size=4)}),
    st.floats(0, 1, exclude_max=True),
)
def test_every_value_of_an_accepted_parameter_fits_the_field(
    name: str, parameter: dict[str, Any], share: float
) -> None:
    space = read({"search_space": {name: parameter}})
    if space is not None:
        point = space.point_of(lambda own: own.values.of_unit(share))
        TrainingSpec.model_validate(space.document(point))


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", [nested(10), nested(5_000), [0] * 2_000, {"a": nested(20)}])
def test_choices_nested_deeply_or_long_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="nested too deeply or too long"):
        SweepSpec.model_validate({"search_space": {"class_weights": {"choices": [value]}}})


def test_a_space_of_too_much_is_refused_at_once() -> None:
    """So many specs are never made."""
    many = {"choices": [*range(1, 1_001)]}

    wide = {f"field{place}": many for place in range(51)}
    assert read({"search_space": wide}) is None
    assert read({"search_space": {"batch_size": many, "max_epochs": many}}) is None
    hidden = [{"type": "mlp", "hidden_sizes": [size]} for size in range(1, 501)]
    rates = {"choices": [size / 1000 for size in range(1, 501)]}
    most = read({"search_space": {"architecture": {"choices": hidden}, "dropout": rates}})
    assert most is not None
    assert most.combinations == 500 * 500
