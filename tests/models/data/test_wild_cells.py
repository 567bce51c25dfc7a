"""One mistyped cell among the few that are not zero, and columns of zeros that have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from houses import array_design, lay, score, train

from models.data.preprocessing import FENCE, learn
from models.networks.encoder import SMOOTH_CLIP, Encoder
from models.spec import Preprocessing

ROWS = 1_000
ROBUST = Preprocessing.model_validate({"numeric_scaling": "robust", "target_transform": "none"})
SPECS: dict[str, dict[str, Any]] = {
    "linear": {"architecture": {"type": "linear"}, "max_epochs": 2},
    "mlp with bins": {
        "architecture": {
            "type": "mlp",
            "hidden_sizes": [32],
            "numeric_embedding": {"type": "piecewise_linear", "bins": 16},
        },
        "max_epochs": 25,
        "optimizer": {"learning_rate": 5e-3},
        "early_stopping": None,
    },
}


def pools(zeros: float, missing: float = 0.0) -> pd.DataFrame:
    """Prices of which half the variance is that of the pools, and a tenth or less is noise."""
    rng = np.random.default_rng(0)
    pool = np.zeros(ROWS)
    owners = np.arange(round(ROWS * (1 - zeros)))
    pool[owners] = rng.uniform(20, 80, len(owners))
    area = rng.normal(100, 25, ROWS)
    price = 0.6 * (area - 100) / 25 + pool / pool.std() + rng.normal(0, 0.3, ROWS)
    pool[rng.uniform(size=ROWS) < missing] = np.nan
    frame = pd.DataFrame({"area": area, "pool": pool, "price": price})
    return frame.sample(frac=1, random_state=0, ignore_index=True)


def with_typing_error(frame: pd.DataFrame) -> pd.DataFrame:
    owner = np.flatnonzero(frame["pool"] > 0)[0]
    mistyped = frame.copy()
    mistyped.loc[owner, "pool"] *= 1_000
    return mistyped


def out_of_fold_r2(folder: Path, frame: pd.DataFrame, spec: dict[str, Any]) -> float:
    case = lay(folder, frame, preprocessing=ROBUST.model_dump(), seed=1, **spec)
    r2 = score(case, train(case)).assessment.metrics["r2"]
    assert r2 is not None
    return r2


@pytest.mark.parametrize("zeros", [0.8, 0.97])
@pytest.mark.parametrize("architecture", SPECS)
def test_one_typing_error_costs_next_to_nothing(
    tmp_path: Path, architecture: str, zeros: float
) -> None:
    spec, frame = SPECS[architecture], pools(zeros)
    healthy = out_of_fold_r2(tmp_path, frame, spec)
    assert healthy > 0.92
    assert out_of_fold_r2(tmp_path, with_typing_error(frame), spec) > healthy - 0.02


@pytest.mark.parametrize("zeros", [0.8, 0.97])
def test_one_typing_error_does_not_fill_the_missing_cells(tmp_path: Path, zeros: float) -> None:
    frame, spec = pools(zeros, missing=0.1), SPECS["linear"]
    healthy = out_of_fold_r2(tmp_path, frame, spec)
    assert out_of_fold_r2(tmp_path, with_typing_error(frame), spec) > healthy - 0.02


@pytest.mark.parametrize("zeros", [0.8, 0.97])
def test_rare_numbers_are_scaled_as_they_are(zeros: float) -> None:
    """Those beyond the training rows' too: up to the fence all of them count in full."""
    column = pools(zeros)[["pool"]].to_numpy(copy=True)
    typical = float(np.median(column[column > 0]))
    column[:3, 0] = 0.0, 0.9 * FENCE * typical, -0.9 * FENCE * typical
    found = encoded(column, train=np.arange(3, ROWS))
    z = column / scale_of(column[3:])
    np.testing.assert_allclose(found, z / np.sqrt(1 + (z / SMOOTH_CLIP) ** 2), rtol=1e-6)


def test_beyond_the_fence_a_number_counts_as_the_farthest_within() -> None:
    column = np.zeros((ROWS, 1))
    column[:4, 0] = 2e5, -2e5, np.finfo(np.float64).max, 80.0
    column[4:34, 0] = np.linspace(20, 80, 30)
    found = encoded(column, train=np.arange(3, ROWS))
    np.testing.assert_array_equal(found[[0, 2]], found[[3, 3]])
    np.testing.assert_array_equal(found[1], -found[3])


def encoded(column: np.ndarray, train: np.ndarray) -> np.ndarray:
    """(n, 1) what a network is given for a column (n, 1)."""
    design = array_design(column)
    encoder = Encoder(learn(ROBUST, design, [train]), [], ROBUST)
    numbers, codes = torch.from_numpy(column)[None], torch.zeros(1, len(column), 0).long()
    return encoder(numbers, codes)[0].numpy()


def scale_of(column: np.ndarray) -> float:
    return float(learn(ROBUST, array_design(column), [np.arange(len(column))]).scale.item())
