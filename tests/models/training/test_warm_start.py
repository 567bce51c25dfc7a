from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from houses import house_frame
from starts import train_from

from models.training.progress import Interrupted, Monitor

PIECEWISE = {"type": "piecewise_linear", "bins": 4}
PERIODIC = {"type": "periodic", "frequencies": 3, "scale": 0.5, "size": 3}
MLP: dict[str, Any] = {"type": "mlp", "hidden_sizes": [8, 5]}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "linear": {"architecture": {"type": "linear"}},
    "piecewise": {
        "architecture": MLP | {"numeric_embedding": PIECEWISE, "linear_path": "least_squares"}
    },
    "quantile": {"architecture": MLP, "preprocessing": {"numeric_scaling": "quantile"}},
    "resnet": {
        "architecture": {
            "type": "resnet",
            "width": 6,
            "blocks": 1,
            "normalization": "layer",
            "numeric_embedding": PERIODIC,
        }
    },
    "realmlp": {
        "architecture": {"type": "realmlp", "hidden_sizes": [6], "numeric_embedding": PERIODIC}
    },
    "tabm": {"architecture": {"type": "tabm", "hidden_sizes": [6, 5], "ensemble_size": 3}},
    "two members": {"architecture": MLP, "members_per_fold": 2, "k_folds": 2},
}
STILL = {"name": "sgd", "learning_rate": 1e-30}  # moves nothing


def located(rows: int, seed: int = 0) -> pd.DataFrame:
    chance = np.random.default_rng([seed, 1])
    return house_frame(rows, seed).assign(
        latitude=chance.normal(41, 0.1, rows), longitude=chance.normal(-93, 0.1, rows)
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_network_that_does_not_learn_is_the_earlier_one(tmp_path: Path, name: str) -> None:
    """New rows move the scaling and the target's mean, a new column and new levels come, columns
    and levels change their order: what the earlier networks say of old rows stays."""
    spec = {"k_folds": 3, "max_epochs": 3, "early_stopping": None} | ARCHITECTURES[name]
    old = located(90)
    before = train_from(tmp_path / "old", old, **spec)
    more = located(40, seed=1).assign(quarter="harbour")
    more["area"] *= 3
    new = pd.concat([more, old.iloc[::-1]], ignore_index=True)
    new["rooms"] = np.arange(130) % 7
    new = new[[*reversed(new.columns)]]
    after = train_from(tmp_path / "new", new, before, **(spec | {"optimizer": STILL}))
    found = after.out_of_fold[:39:-1]
    np.testing.assert_allclose(found, before.out_of_fold, rtol=2e-5)
    assert after.warnings == []


def test_a_warm_start_begins_near_the_earlier_error(tmp_path: Path) -> None:
    spec = {"architecture": MLP, "k_folds": 3, "optimizer": {"learning_rate": 0.01}}
    old = house_frame(200)
    before = train_from(tmp_path / "old", old, **spec, max_epochs=60)
    new = pd.concat([old, house_frame(40, seed=1)], ignore_index=True)
    short = spec | {"max_epochs": 2}
    warm = train_from(tmp_path / "warm", new, before, **short)
    cold = train_from(tmp_path / "cold", new, **short)
    assert warm.error < 1.2 * before.error < 0.6 * cold.error


def test_noise_is_not_found_again_out_of_fold(tmp_path: Path) -> None:
    """Networks that know their training rows by heart start those of the same folds only."""
    chance = np.random.default_rng(0)
    old = pd.DataFrame(chance.normal(size=(300, 12))).add_prefix("c")
    old["price"] = chance.normal(size=300)
    spec: dict[str, Any] = {
        "architecture": {"type": "mlp", "hidden_sizes": [64]},
        "dropout": 0.0,
        "k_folds": 3,
        "max_epochs": 60,
        "early_stopping": None,
        "optimizer": {"learning_rate": 0.01},
    }
    before = train_from(tmp_path / "old", old, **spec)
    new = pd.concat([old, old.sample(30, random_state=1).assign(c0=chance.normal(size=30))])
    new = new.sample(frac=1, random_state=2)
    short = spec | {"max_epochs": 1, "optimizer": {"learning_rate": 1e-4}}
    assert train_from(tmp_path / "new", new, before, **short).explained <= 0.02
    # Other folds would score what they know, and are reported.
    grouped = new.assign(group=np.arange(330) % 11)
    leaky = train_from(
        tmp_path / "leaky",
        grouped,
        before,
        **short | {"folds": {"type": "group", "column": "group"}},
    )
    assert leaky.explained > 0.1
    assert [warning.code for warning in leaky.warnings] == ["not_out_of_fold"]
    again = train_from(tmp_path / "again", new, leaky, **short)
    assert "not_out_of_fold" in [warning.code for warning in again.warnings]


def test_new_inputs_start_without_weight_and_learn(tmp_path: Path) -> None:
    spec = {"architecture": MLP, "k_folds": 2, "early_stopping": None}
    old = house_frame(60)
    before = train_from(tmp_path / "old", old, **spec, max_epochs=2)
    new = old.assign(rooms=np.arange(60) % 7)
    still = train_from(tmp_path / "still", new, before, **spec, max_epochs=1, optimizer=STILL)
    moved = train_from(tmp_path / "moved", new, before, **spec, max_epochs=1)
    place = still.case.design.numeric.index("rooms")
    weights = "hidden.0.weight"
    first = still.populations[0].network.state_dict()[weights][:, place]
    assert first.abs().max() < 1e-20
    assert moved.populations[0].network.state_dict()[weights][:, place].all()


def test_networks_of_a_blend_start_from_those_in_their_place(tmp_path: Path) -> None:
    """With inputs from other rows' targets, and trees between the networks."""
    spec: dict[str, Any] = {
        "members": [
            {"architecture": MLP, "max_epochs": 4},
            {"architecture": {"type": "boosted_trees", "iterations": 5}},
            {"architecture": MLP | {"hidden_sizes": [6]}, "max_epochs": 3},
        ],
        "features": {"group_means": ["quarter"], "comparables": ["attributes"]},
        "weights": "mean",
        "k_folds": 2,
        "early_stopping": None,
    }
    old = house_frame(90)
    before = train_from(tmp_path / "old", old, **spec)
    for member in spec["members"][::2]:
        member |= {"optimizer": STILL, "max_epochs": 1}
    after = train_from(tmp_path / "new", old.iloc[::-1], before, **spec)
    for place in (0, 2):
        weights = [own.populations[place].network.state_dict() for own in (before, after)]
        for name, value in weights[0].items():
            torch.testing.assert_close(weights[1][name], value)


def test_classes_start_too(tmp_path: Path) -> None:
    frame = house_frame(90)
    frame["price"] = pd.qcut(frame["price"], 3, labels=["cheap", "fair", "dear"]).astype(str)
    spec: dict[str, Any] = {"architecture": MLP, "k_folds": 3, "max_epochs": 4}
    before = train_from(tmp_path / "old", frame, **spec)
    after = train_from(
        tmp_path / "new", frame.iloc[::-1], before, **(spec | {"optimizer": STILL, "max_epochs": 1})
    )
    for own, other in zip(before.folds, after.folds, strict=True):
        assert {*own.watched} == {*(89 - other.watched)}
    weights = [own.populations[0].network.state_dict() for own in (before, after)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value)


class Interruptor(Monitor):
    """Stops after some questions, and keeps the checkpoint."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.saved: list[bytes] = []

    def should_stop(self) -> bool:
        self.left -= 1
        return self.left < 0

    def checkpoint(self, make: Callable[[], bytes]) -> None:
        self.saved = [make()]


def test_an_interrupted_start_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    spec = {"architecture": MLP, "k_folds": 2, "max_epochs": 4, "freeze": ["hidden.0"]}
    before = train_from(tmp_path / "old", house_frame(60), **spec)
    frame = house_frame(70)
    whole = train_from(tmp_path / "new", frame, before, **spec)
    monitor = Interruptor(2)
    with pytest.raises(Interrupted):
        train_from(tmp_path / "new", frame, before, monitor, **spec)
    resumed = train_from(tmp_path / "new", frame, before, checkpoints=monitor.saved, **spec)
    for name, value in whole.populations[0].network.state_dict().items():
        assert torch.equal(resumed.populations[0].network.state_dict()[name], value)


def test_a_frozen_first_layer_is_the_earlier_one(tmp_path: Path) -> None:
    spec = {"architecture": MLP, "k_folds": 2, "max_epochs": 3, "weight_decay": 0.1}
    frame = house_frame(60)
    before = train_from(tmp_path / "old", frame, **spec)
    after = train_from(tmp_path / "new", frame, before, **spec, freeze=["hidden.0"])
    old, new = (own.populations[0].network.state_dict() for own in (before, after))
    for name in new:
        assert torch.equal(new[name], old[name]) == name.startswith("hidden.0"), name
