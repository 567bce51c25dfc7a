"""Small models of classes: their names hold commas, bars and quotes."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from houses import Built, build, house_frame, lay

STATES = ("fair, dry", "good", "poor|damp")  # in the order of the classes
ANSWERS = ("no", "yes")


def class_frame(rows: int = 150, seed: int = 0) -> pd.DataFrame:
    """Houses whose price decides, with some chance, their `state` and whether they are `let`."""
    frame = house_frame(rows, seed)
    chance = np.random.default_rng(seed + 1)
    rank = frame.pop("price").rank(pct=True) + chance.normal(0, 0.1, rows)
    frame["state"] = np.select([rank < 0.35, rank < 0.65], [STATES[2], STATES[0]], STATES[1])
    frame["let"] = np.where(rank > 0.6, "yes", "no")
    return frame


@cache
def state_model() -> Built:
    """A model of three classes."""
    return _built("state", "let")


@cache
def let_model() -> Built:
    """A model of no and yes, which says yes from the threshold that its F1 prefers; with a
    holdout."""
    decision, holdout = {"threshold": "f1"}, {"fraction": 0.1}
    return _built("let", "state", decision=decision, holdout=holdout)


def _built(target: str, other: str, **spec: Any) -> Built:
    with tempfile.TemporaryDirectory() as folder:
        case = lay(
            Path(folder),
            class_frame().drop(columns=other),
            target=target,
            architecture={"type": "mlp", "hidden_sizes": [8]},
            max_epochs=30,
            optimizer={"learning_rate": 0.01},
            **spec,
        )
        return build(case)
