"""Every architecture's files price what the folds were scored with."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from houses import Built, build, house_frame, lay

from models.export.graph import session, verify
from models.export.served import predict
from models.objectives import CLASSIFICATION, objective_of
from models.serving.manifest import MEMBERS

FOLDS = 3
PIECEWISE = {"type": "piecewise_linear", "bins": 4}
BASE: dict[str, Any] = {
    "k_folds": FOLDS,
    "max_epochs": 3,
    "batch_size": 32,
    "optimizer": {"learning_rate": 0.02},
    "early_stopping": None,
}
# Every part that a network may have, in few exports.
VARIANTS: dict[str, dict[str, Any]] = {
    "mlp, two members a fold": {
        "architecture": {
            "type": "mlp",
            "hidden_sizes": [6, 3],
            "normalization": "batch",
            "numeric_embedding": PIECEWISE,
            "linear_path": True,
        },
        "members_per_fold": 2,
    },
    "resnet": {
        "architecture": {
            "type": "resnet",
            "blocks": 1,
            "width": 4,
            "block_width": 5,
            "numeric_embedding": {"type": "periodic", "frequencies": 3},
        }
    },
    "realmlp": {"architecture": {"type": "realmlp", "hidden_sizes": [6]}},
    "tabm, two members a fold": {
        "architecture": {
            "type": "tabm",
            "hidden_sizes": [6, 4],
            "ensemble_size": 3,
            "numeric_embedding": PIECEWISE,
        },
        "members_per_fold": 2,
    },
    "classes by tabm, two members a fold": {
        "task": CLASSIFICATION,
        "architecture": {"type": "tabm", "hidden_sizes": [6], "ensemble_size": 3},
        "members_per_fold": 2,
    },
    "classes by a line": {"task": CLASSIFICATION, "architecture": {"type": "linear"}},
    "classes by a perceptron": {
        "task": CLASSIFICATION,
        "architecture": {"type": "perceptron"},
        "optimizer": {"learning_rate": 1.0},
    },
}


@pytest.fixture(scope="module", params=VARIANTS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    spec, frame = BASE | VARIANTS[request.param], house_frame()
    if "task" in spec:
        frame["price"] = pd.qcut(frame["price"], 3, labels=["cheap", "fair", "dear"])
    return build(lay(tmp_path_factory.mktemp("export"), frame, **spec))


def members_of_rows(model: Built, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The predictions, and those of the members, of core.onnx for rows of the design."""
    design = model.case.design
    inputs = {"numbers": design.numbers[rows], "codes": design.codes[rows]}
    names = [objective_of(model.case.spec).output, MEMBERS]
    value, members = session(model.core).run(names, inputs)
    return value, members


def test_the_members_of_a_fold_give_its_out_of_fold_predictions(model: Built) -> None:
    """Members f·m … f·m + m − 1 are fold f's, in both files."""
    case = model.case
    replicas = case.spec.members_per_fold
    assert model.manifest.members == FOLDS * replicas
    validation = [rows.validation for rows in case.folds]
    for fold, rows in enumerate(validation):
        _, members = members_of_rows(model, rows)
        assert members.shape[:2] == (FOLDS * replicas, len(rows))
        own = members[fold * replicas : (fold + 1) * replicas]
        np.testing.assert_allclose(own.mean(0), model.scores.out_of_fold[rows], rtol=1e-4)
    verify(model.core, model.full, case.design, model.served, validation, model.scores.out_of_fold)


def test_each_member_is_the_network_of_its_place(model: Built) -> None:
    """By torch, fold by fold; replicas of one fold differ."""
    design, replicas = model.case.design, model.case.spec.members_per_fold
    rows = np.arange(len(design))
    value, members = members_of_rows(model, rows)
    np.testing.assert_allclose(value, members.mean(0), rtol=1e-12)
    for fold in range(FOLDS):
        served = model.served.fold(fold)
        with torch.no_grad():
            _, own = served(torch.from_numpy(design.numbers), torch.from_numpy(design.codes))
        assert own.shape[:2] == (replicas, len(design))
        found = members[fold * replicas : (fold + 1) * replicas]
        np.testing.assert_allclose(found, own.numpy(), rtol=1e-4)
        value = predict(served, design.numbers[rows], design.codes[rows]).values
        np.testing.assert_allclose(found.mean(0), value, rtol=1e-4)
    for one, other in pairwise(members):
        assert np.abs(one / other - 1).max() > 1e-3


def test_a_row_does_not_depend_on_its_batch(model: Built) -> None:
    whole, _ = members_of_rows(model, np.arange(len(model.case.design)))
    for row in (0, 5, 102):
        alone, _ = members_of_rows(model, np.array([row]))
        np.testing.assert_allclose(alone, whole[[row]], rtol=1e-6)


@pytest.mark.parametrize(
    "architecture",
    [
        {"type": "mlp", "hidden_sizes": [4], "numeric_embedding": PIECEWISE},
        {"type": "realmlp", "hidden_sizes": [4]},
    ],
)
def test_embeddings_of_numbers_where_there_are_none(
    architecture: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    frame = house_frame()[["quarter", "heating", "price"]]
    case = lay(tmp_path_factory.mktemp("words"), frame, **(BASE | {"architecture": architecture}))
    model = build(case)
    validation = [rows.validation for rows in case.folds]
    verify(model.core, model.full, case.design, model.served, validation, model.scores.out_of_fold)
