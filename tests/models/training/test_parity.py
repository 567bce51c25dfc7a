"""The fused population equals members trained one at a time from plain torch.nn parts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from alone import ACTIVATIONS, inputs_of, train_alone
from houses import Case, house_frame, lay, trainer_of

from models.members import Member
from models.objectives import REGRESSION
from models.objectives.base import Vector
from models.objectives.regression.learning import RegressionLearning
from models.objectives.regression.scale import TargetScale
from models.objectives.trained import LEARNING
from models.spec import TrainingSpec
from models.training.engine import BLOCK_ROWS
from models.training.progress import Course, MemberEpoch, Monitor

SCALED = {"target_transform": "log", "numeric_scaling": "standard"}
SMALL: dict[str, Any] = {"type": "mlp", "hidden_sizes": [6]}
PIECEWISE = {"type": "piecewise_linear", "bins": 4}
PERIODIC = {"type": "periodic", "frequencies": 3, "scale": 0.5, "size": 3}


class Recorder(Monitor):
    def __init__(self) -> None:
        self.losses: list[MemberEpoch] = []

    def epoch_ended(self, losses: list[MemberEpoch], active: list[Member]) -> None:  # noqa: ARG002
        self.losses += losses


def compare(case: Case, dtype: torch.dtype, tolerance: float) -> list[Course]:
    """Losses of every epoch, and what the best weights predict for every row of the table."""
    trainer = trainer_of(case, dtype)
    first = copy.deepcopy(trainer.network.state_dict())
    recorder = Recorder()
    trained = trainer.train(recorder)
    for place, member in enumerate(trainer.members):
        state = {name: value[place] for name, value in first.items()}
        alone = train_alone(case, member, state)
        fused = [
            (row.train_loss, row.validation_loss) for row in recorder.losses if row.member == member
        ]
        np.testing.assert_allclose(fused, alone.history, rtol=tolerance, atol=tolerance)
        assert trained.courses[place].best_epoch == alone.best_epoch
        x = torch.tensor(inputs_of(case, member.fold)[0], dtype=dtype)
        with torch.no_grad():
            found = trained.network(x.expand(len(trainer.members), -1, -1))[place]
            expected = alone.network(x, lambda hidden: hidden).view(found.shape)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    return trained.courses


CASES: dict[str, dict[str, Any]] = {
    "linear": {"architecture": {"type": "linear"}},
    "mlp": {"architecture": {"type": "mlp", "hidden_sizes": [8, 5]}, "dropout": 0.3},
    "sgd and clip": {
        "architecture": {"type": "mlp", "hidden_sizes": [8]},
        "optimizer": {"name": "sgd", "learning_rate": 0.05, "gradient_clip": 0.5},
        "weight_decay": 0.1,
    },
    "absolute error": {"loss": "absolute_error", "architecture": SMALL},
    "huber": {"loss": "huber", "architecture": SMALL},
    # The earliest fold trains on a quarter of the latest one's rows and has fewer batches.
    "folds of unequal size": {
        "folds": {"type": "time", "column": "sold"},
        "architecture": {"type": "mlp", "hidden_sizes": [8]},
        "optimizer": {"learning_rate": 0.02},
    },
    "early stopping": {
        "early_stopping": {"patience": 2, "fraction": 0.2},
        "architecture": {"type": "mlp", "hidden_sizes": [16]},
        "optimizer": {"learning_rate": 0.1},
        "max_epochs": 30,
    },
    **{
        f"activation {name}": {
            "architecture": {"type": "mlp", "hidden_sizes": [7], "activation": name}
        }
        for name in ACTIVATIONS
    },
}

# Of 66 rows in time, three folds train on 18, 34 and 50: batches of 8 are 3, 5 and 7, the last of
# each has 2 rows, and 7 epochs are 21, 35 and 49 steps.
RAGGED: dict[str, Any] = {
    "folds": {"type": "time", "column": "sold"},
    "k_folds": 3,
    "batch_size": 8,
    "max_epochs": 7,
    "dropout": 0.2,
    "optimizer": {"learning_rate": 0.02},
    "early_stopping": None,
    "preprocessing": SCALED,
}
STOPPING: dict[str, Any] = {
    "early_stopping": {"patience": 1, "fraction": 0.2},
    "optimizer": {"learning_rate": 0.1},
    "max_epochs": 20,
}
SGD: dict[str, Any] = {"name": "sgd", "learning_rate": 0.02}
BATCH: dict[str, Any] = SMALL | {"normalization": "batch"}
RESNET: dict[str, Any] = {"type": "resnet", "blocks": 2, "width": 5, "block_width": 6}
REALMLP: dict[str, Any] = {
    "type": "realmlp",
    "hidden_sizes": [6, 5],
    "numeric_embedding": PERIODIC,
}
TABM: dict[str, Any] = {"type": "tabm", "hidden_sizes": [6, 5], "ensemble_size": 3}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "batch normalisation, adam": {"architecture": BATCH},
    "batch normalisation": {"architecture": BATCH, "optimizer": SGD},
    "batch normalisation, early stopping": {
        "architecture": BATCH | {"hidden_sizes": [6, 4]},
        **STOPPING,
        "optimizer": SGD,
    },
    "layer normalisation": {"architecture": SMALL | {"normalization": "layer"}},
    "linear path": {"architecture": SMALL | {"linear_path": True}},
    "linear path, normalised": {
        "architecture": SMALL | {"linear_path": True, "normalization": "layer"}
    },
    "piecewise-linear": {"architecture": SMALL | {"numeric_embedding": PIECEWISE}},
    "periodic": {"architecture": SMALL | {"numeric_embedding": PERIODIC, "linear_path": True}},
    "resnet, adam": {"architecture": RESNET},
    "resnet": {"architecture": RESNET, "optimizer": SGD},
    "resnet, early stopping": {"architecture": RESNET, **STOPPING, "optimizer": SGD},
    "resnet, layer normalisation": {"architecture": RESNET | {"normalization": "layer"}},
    "resnet, periodic": {
        "architecture": RESNET | {"normalization": "none", "numeric_embedding": PERIODIC}
    },
    "realmlp": {"architecture": REALMLP, "weight_decay": 0.1},
    "realmlp, sgd": {
        "architecture": REALMLP,
        "optimizer": {"name": "sgd", "learning_rate": 0.01, "gradient_clip": 1.0},
        "weight_decay": 0.1,
    },
    "realmlp, early stopping": {"architecture": REALMLP, **STOPPING},
    "realmlp, piecewise-linear": {"architecture": REALMLP | {"numeric_embedding": PIECEWISE}},
    "tabm": {"architecture": TABM, "weight_decay": 0.1},
    "tabm, early stopping": {"architecture": TABM, **STOPPING},
    "tabm, absolute error": {"architecture": TABM, "loss": "absolute_error"},
    "tabm, periodic": {"architecture": TABM | {"numeric_embedding": PERIODIC}},
    "plain momentum": {
        "architecture": SMALL,
        "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.0},
    },
    "two members a fold": {"architecture": SMALL, "members_per_fold": 2},
    "two members a fold, early stopping": {
        "architecture": SMALL,
        "members_per_fold": 2,
        **STOPPING,
    },
    "two tabms a fold": {"architecture": TABM, "members_per_fold": 2},
    # The first two have their gradients by hand; decay would move what is frozen.
    "frozen first layer": {
        "architecture": {"type": "mlp", "hidden_sizes": [6, 5]},
        "freeze": ["hidden.0"],
        "weight_decay": 0.1,
        "optimizer": {"learning_rate": 0.02, "gradient_clip": 0.5},
    },
    "frozen layers, two members a fold": {
        "architecture": {"type": "mlp", "hidden_sizes": [6, 5], "linear_path": True},
        "freeze": ["hidden.0", "shortcut", "output"],
        "members_per_fold": 2,
        "optimizer": SGD | {"gradient_clip": 0.5},
        "weight_decay": 0.1,
    },
    "frozen block": {
        "architecture": RESNET | {"normalization": "layer"},
        "freeze": ["first", "widen.1", "narrow.1"],
        "weight_decay": 0.1,
    },
    **{
        f"schedule {name}, {folds} folds": {
            "architecture": SMALL,
            "folds": {"type": folds} | ({"column": "sold"} if folds == "time" else {}),
            "optimizer": {"learning_rate": 0.05, "schedule": name},
        }
        for name in ("cosine", "flat_cosine", "multi_cosine")
        for folds in ("shuffled", "time")
    },
}


@pytest.mark.parametrize("name", CASES)
def test_fused_folds_equal_folds_trained_alone(tmp_path: Path, name: str) -> None:
    """103 rows in 5 folds are ragged; 4 epochs of 6 batches are 24 steps."""
    defaults: dict[str, Any] = {
        "batch_size": 16,
        "max_epochs": 4,
        "early_stopping": None,
        "preprocessing": SCALED,
    }
    case = lay(tmp_path, house_frame(), **(defaults | CASES[name]))
    compare(case, torch.float64, 1e-9)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_equals_members_trained_alone(tmp_path: Path, name: str) -> None:
    """A bias that batch normalisation takes away again has a gradient of rounding errors, which
    Adam scales up: where only that differs, running means and so predictions differ a little."""
    case = lay(tmp_path, house_frame(66), **(RAGGED | ARCHITECTURES[name]))
    drifts = "adam" in name
    compare(case, torch.float64, 1e-6 if drifts else 1e-9)


CLASSES: dict[str, dict[str, Any]] = {
    "linear": {"architecture": {"type": "linear"}},
    "mlp": {"architecture": {"type": "mlp", "hidden_sizes": [8, 5]}, "dropout": 0.3},
    "linear path": {"architecture": SMALL | {"linear_path": True}},
    "resnet": {"architecture": RESNET, "optimizer": SGD},
    "realmlp": {"architecture": REALMLP, "weight_decay": 0.1},
    "tabm": {"architecture": TABM, "weight_decay": 0.1},
}
# Slopes of margins are ±1, so that gradients of days can cancel out but for their rounding errors,
# which Adam scales up.
SLOW = {"name": "sgd", "learning_rate": 0.05}
OF_CLASSES: dict[str, dict[str, Any]] = {
    "cross entropy": {},
    "smoothed": {"label_smoothing": 0.2},
    "balanced": {"class_weights": "balanced"},
    "weighed, smoothed": {"class_weights": {"dear": 3.0, "cheap": 0.5}, "label_smoothing": 0.1},
    "hinge": {"loss": "hinge", "optimizer": SLOW},
    "hinge, balanced": {"loss": "hinge", "class_weights": "balanced", "optimizer": SLOW},
    "perceptron": {"loss": "perceptron", "optimizer": SLOW},
}
THREE, TWO = ("cheap", "fair", "dear"), ("cheap", "dear")
# The first two have their gradients by hand and by autograd.
LEARNT = [
    *product(("mlp", "tabm"), OF_CLASSES, (THREE,)),
    *product(("mlp", "tabm"), ("cross entropy", "hinge", "perceptron"), (TWO,)),
    *product(
        ("linear", "linear path", "resnet", "realmlp"),
        ("cross entropy", "weighed, smoothed", "hinge, balanced", "perceptron"),
        (THREE,),
    ),
]
WATCHED = [
    *product(CLASSES, ("smoothed", "balanced", "hinge"), ("time",)),
    *product(("mlp", "tabm"), ("smoothed", "balanced", "hinge"), ("stratified",)),
]


def lay_classes(folder: Path, rows: int, levels: Sequence[str], **spec: Any) -> Case:
    """Houses with a class of their price: the lowest fifth is cheap."""
    frame = house_frame(rows)
    edges = [0.0, 0.2, 1.0] if len(levels) == 2 else [0.0, 0.2, 0.65, 1.0]
    frame["price"] = pd.qcut(frame["price"], edges, labels=list(levels)).astype(str)
    case = lay(folder, frame, **(spec | {"preprocessing": {"numeric_scaling": "standard"}}))
    assert set(case.design.levels) == set(levels)
    return case


@pytest.mark.parametrize(("name", "loss", "levels"), LEARNT, ids=str)
def test_classes_are_learnt_as_by_members_alone(
    tmp_path: Path, name: str, loss: str, levels: Sequence[str]
) -> None:
    case = lay_classes(tmp_path, 66, levels, **(RAGGED | CLASSES[name] | OF_CLASSES[loss]))
    assert trainer_of(case).inputs.shape.outputs == len(levels)
    compare(case, torch.float64, 1e-9)


@pytest.mark.parametrize(("name", "loss", "folds"), WATCHED)
def test_classes_are_watched_by_their_plain_loss(
    tmp_path: Path, name: str, loss: str, folds: str
) -> None:
    """Neither smoothing nor weights count for the watched rows."""
    column = {"column": "sold"} if folds == "time" else {}
    spec = RAGGED | STOPPING | CLASSES[name] | OF_CLASSES[loss]
    spec["folds"] = {"type": folds, **column}
    courses = compare(lay_classes(tmp_path, 66, THREE, **spec), torch.float64, 1e-9)
    assert any(course.stopped_by == "early_stopping" for course in courses)


@pytest.mark.parametrize("levels", [TWO, THREE], ids=len)
@pytest.mark.parametrize("change", [{}, {"batch_size": 4}, {"class_weights": "balanced"}], ids=str)
def test_the_perceptron_is_the_textbook_one(
    tmp_path: Path, levels: Sequence[str], change: dict[str, Any]
) -> None:
    """From zero, a row at a time, at a rate of 1."""
    spec = {"architecture": {"type": "perceptron"}, "k_folds": 3, "max_epochs": 6} | change
    case = lay_classes(tmp_path, 67, levels, **spec)
    trainer = trainer_of(case, torch.float64)
    assert not any(weights.any() for weights in trainer.network.state_dict().values())
    assert case.spec.batch_size == change.get("batch_size", 1)
    assert (case.spec.optimizer.name, case.spec.optimizer.learning_rate) == ("sgd", 1.0)
    compare(case, torch.float64, 1e-9)


def test_a_perceptron_stops_after_an_epoch_without_mistakes(tmp_path: Path) -> None:
    """Rosenblatt's rule finds a line if there is one."""
    x = np.random.default_rng(0).normal(size=(60, 2))
    side = x[:, 0] - 0.5 * x[:, 1]
    frame = pd.DataFrame(x, columns=["a", "b"]).assign(price=np.where(side > 0, "yes", "no"))
    frame = frame[np.abs(side) > 0.1]
    scaled = {"numeric_scaling": "standard"}
    perceptron = {"type": "perceptron"}
    case = lay(tmp_path, frame, architecture=perceptron, k_folds=3, preprocessing=scaled)
    for course in compare(case, torch.float64, 1e-9):
        assert course.stopped_by == "no_mistakes"
        assert 1 < course.epochs == course.best_epoch < case.spec.max_epochs


class ThreeOutputs(RegressionLearning):
    """Each of them predicts the target."""

    def target(
        self, training: Sequence[Vector], levels: tuple[str, ...], spec: TrainingSpec
    ) -> TargetScale:
        target = super().target(training, levels, spec)
        target.outputs = 3
        return target


@pytest.mark.parametrize(
    "architecture",
    [
        {"type": "linear"},
        SMALL,
        SMALL | {"linear_path": True},
        SMALL | {"normalization": "layer"},
        {"type": "resnet", "width": 6, "blocks": 1, "normalization": "layer"},
        {"type": "realmlp", "hidden_sizes": [6]},
    ],
    ids=str,
)
def test_three_outputs(
    tmp_path: Path, architecture: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LEARNING, REGRESSION, ThreeOutputs())
    case = lay(tmp_path, house_frame(66), **(RAGGED | {"architecture": architecture}))
    assert trainer_of(case).inputs.shape.outputs == 3
    compare(case, torch.float64, 1e-9)


@pytest.mark.parametrize(
    ("rows", "spec"),
    [
        (103, {"batch_size": 16, "preprocessing": SCALED} | CASES["early stopping"]),
        *((66, RAGGED | spec) for spec in ARCHITECTURES.values() if "max_epochs" in spec),
    ],
)
def test_early_stopping_is_exercised(tmp_path: Path, rows: int, spec: dict[str, Any]) -> None:
    """The parity cases above mean something only if members stop at different epochs."""
    trainer = trainer_of(lay(tmp_path, house_frame(rows), **spec))
    trainer.train(Recorder())
    courses = trainer.courses
    assert len({course.epochs for course in courses if course.stopped_by == "early_stopping"}) > 1


@pytest.mark.parametrize(
    "architecture",
    [
        {"type": "mlp", "hidden_sizes": [32, 16]},
        {"type": "resnet", "width": 16, "block_width": 16, "normalization": "layer"},
        {"type": "realmlp", "hidden_sizes": [16], "numeric_embedding": PERIODIC},
        {"type": "tabm", "hidden_sizes": [16], "ensemble_size": 4},
    ],
)
def test_float32_stays_close_after_an_epoch(tmp_path: Path, architecture: dict[str, Any]) -> None:
    case = lay(
        tmp_path,
        house_frame(rows=503),
        architecture=architecture,
        dropout=0.2,
        max_epochs=1,
        early_stopping=None,
        preprocessing=SCALED,
    )
    compare(case, torch.float32, 1e-4)


def test_blocks_divide_an_epoch(tmp_path: Path) -> None:
    """More rows than a block holds: dropout begins anew in each block, in both loops."""
    case = lay(
        tmp_path,
        house_frame(rows=2 * BLOCK_ROWS + 77),
        k_folds=2,
        architecture={"type": "mlp", "hidden_sizes": [4]},
        dropout=0.5,
        max_epochs=2,
        batch_size=48,
        early_stopping=None,
        preprocessing=SCALED,
    )
    compare(case, torch.float64, 1e-9)
