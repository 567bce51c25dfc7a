from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from houses import house_frame, lay

from models.planning.inherit import differences, inherit
from models.planning.resolve import resolve
from models.spec import TrainingSpec

MLP: dict[str, Any] = {"type": "mlp", "hidden_sizes": [8, 4]}
TREES: dict[str, Any] = {"type": "boosted_trees"}


def resolved(folder: Path, before: TrainingSpec, **spec: Any) -> TrainingSpec:
    """On a table that lacks `heating`, and in which stars are words and rooms are new."""
    folder.mkdir()
    frame = house_frame(60).drop(columns="heating").assign(rooms=range(60))
    frame["stars"] = "three"
    frame.loc[::2, "stars"] = "four"
    profile = lay(folder, frame, k_folds=2).profile
    given = TrainingSpec.model_validate({"target": "price", "initialize_from": "m", **spec})
    return resolve(inherit(given, before, profile), profile)


def test_what_is_left_out_is_as_before(tmp_path: Path) -> None:
    before = lay(
        tmp_path,
        house_frame(60),
        architecture=MLP,
        k_folds=3,
        dropout=0.2,
        seed=7,
        features={"exclude": ["year"], "kinds": {"stars": "categorical"}},
        preprocessing={"numeric_scaling": "standard"},
        optimizer={"learning_rate": 0.02, "schedule": "cosine"},
        early_stopping=None,
        holdout={"fraction": 0.2},
    ).spec
    now = resolved(tmp_path / "new", before, max_epochs=3, optimizer={"learning_rate": 0.001})
    assert now.architecture == before.architecture
    assert (now.k_folds, now.dropout, now.early_stopping) == (3, 0.2, None)
    assert (now.optimizer.learning_rate, now.optimizer.schedule) == (0.001, "cosine")
    assert (now.max_epochs, now.seed, now.holdout) == (3, 0, None)
    assert now.preprocessing == before.preprocessing
    assert now.features.kinds == {
        "area": "numeric",
        "quarter": "categorical",
        "stars": "categorical",
        "sold": "numeric",
        "rooms": "numeric",
    }
    assert now.features.exclude == ["year"]
    assert differences(now, before, "m") == []


def test_members_are_inherited_with_what_the_spec_says(tmp_path: Path) -> None:
    members = [{"architecture": MLP, "max_epochs": 30, "dropout": 0.1}, {"architecture": TREES}]
    before = lay(tmp_path, house_frame(60), members=members, k_folds=3).spec
    now = resolved(tmp_path / "new", before, max_epochs=3)
    assert now.members is not None
    assert [own.architecture.type for own in now.members] == ["mlp", "boosted_trees"]
    assert [own.max_epochs for own in now.members] == [3, 1]
    assert (now.members[0].dropout, now.max_epochs) == (0.1, 3)
    assert differences(now, before, "m") == []


ONE = {"architecture": MLP, "early_stopping": None}
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "several": (
        ONE,
        {"k_folds": 4, "architecture": {"type": "linear"}, "holdout": {"fraction": 0.2}},
        ["/k_folds", "/preprocessing/numeric_scaling", "/holdout", "/architecture/type"],
    ),
    "deeper": (ONE, {"architecture": MLP | {"hidden_sizes": [8]}}, ["/architecture"]),
    "a curve": (ONE, {"learning_curve": True}, ["/learning_curve"]),
    "to watch": (ONE, {"early_stopping": {}}, ["/early_stopping"]),
    "members": (
        {"members": [{"architecture": MLP}, {"architecture": TREES}]},
        {"members": [{"architecture": TREES}, {"architecture": MLP | {"activation": "tanh"}}]},
        ["/members/0/architecture/type", "/members/1/architecture/type"],
    ),
    "nothing to start": ({"architecture": TREES}, {}, ["/initialize_from"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_named(tmp_path: Path, name: str) -> None:
    earlier, spec, pointers = REFUSED[name]
    before = lay(tmp_path, house_frame(200), k_folds=3, **earlier).spec
    profile = lay(tmp_path, house_frame(200)).profile
    given = TrainingSpec.model_validate({"target": "price", "initialize_from": "m", **spec})
    now = resolve(inherit(given, before, profile), profile)
    assert [fault.pointer for fault in differences(now, before, "m")] == pointers
