"""The same table, spec and seed give the same weights to the bit; another seed does not."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd
import torch

from lessons.lab import Lab, Run
from lessons.outcome import Check, Figures, Outcome, Plot, Series

ROWS = 300
SEEDS = range(4)


def table(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """A target with some noise, so that networks can differ about it."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 5))
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.5 * rng.normal(size=rows)
    return pd.DataFrame(x, columns=list("abcde")).assign(y=y)


def run(lab: Lab) -> Outcome:
    frame = table()
    spec: dict[str, Any] = {
        "target": "y",
        "architecture": {"type": "mlp", "hidden_sizes": [64, 32], "activation": "relu"},
        "optimizer": {"learning_rate": 0.003},
        "dropout": 0.1,
        "max_epochs": 20,
        "early_stopping": None,
    }
    seeds = [lab.train(frame, **spec, seed=seed) for seed in SEEDS]
    first, other = seeds[0], seeds[1]
    again = lab.train(frame, **spec, seed=0)
    scores = [float(own.metrics["rmse"] or 0) for own in seeds]

    receipt = receipt_of(frame, first)
    # A second laboratory has nothing but the table and the receipt.
    with Lab() as second:
        reproduced = second.train(frame, **json.loads(receipt["spec"]))
    changed = frame.assign(a=frame["a"] + np.where(frame.index == 0, 1e-6, 0))
    stranger = receipt_of(changed, lab.train(changed, **spec, seed=0))

    between = float(np.std(scores, ddof=1))
    folds = [float(metrics["rmse"] or 0) for metrics in first.fold_metrics]
    apart = np.abs(first.prediction - other.prediction)
    return Outcome(
        figures=[
            Figures(
                title="SHA-256 of all weights",
                columns=["training", "digest", "rmse"],
                rows=[
                    ["seed 0", digest(first)[:16], scores[0]],
                    ["seed 0 again", digest(again)[:16], float(again.metrics["rmse"] or 0)],
                    [
                        "from the receipt",
                        digest(reproduced)[:16],
                        float(reproduced.metrics["rmse"] or 0),
                    ],
                    ["seed 1", digest(other)[:16], scores[1]],
                    ["one cell changed by 0.000001", stranger["weights"][:16], None],
                ],
            ),
            Figures(
                title="how much a seed changes",
                columns=["figure", "value"],
                rows=[
                    ["deviation of the rmse between seeds", between],
                    ["deviation of the rmse between folds of seed 0", float(np.std(folds, ddof=1))],
                    ["mean distance of two seeds' predictions", float(apart.mean())],
                ],
            ),
            Figures(
                title="the receipt",
                columns=["entry", "value"],
                rows=[[name, value[:60]] for name, value in receipt.items()],
            ),
        ],
        plots=[
            Plot(
                title="the same spec with four seeds",
                kind="bars",
                x="seed",
                y="rmse out of fold",
                series=[Series(name="rmse", x=[str(seed) for seed in SEEDS], y=scores)],
            )
        ],
        checks=[
            Check.at_least("seed 0 again: same weights", _same(digest(again), digest(first)), 1),
            Check.at_most(
                "seed 0 again: largest distance of predictions",
                np.abs(again.prediction - first.prediction).max(),
                0,
            ),
            Check.at_least(
                "from the receipt: same weights", _same(digest(reproduced), receipt["weights"]), 1
            ),
            Check.at_most("seed 1: same weights", _same(digest(other), digest(first)), 0),
            Check.at_least("mean distance of two seeds' predictions", apart.mean(), 0.05),
            Check.at_least("deviation of the rmse between seeds", between, 0.002),
            Check.at_most(
                "one cell changed: same table",
                _same(stranger["table_sha256"], receipt["table_sha256"]),
                0,
            ),
            Check.at_most(
                "one cell changed: same weights", _same(stranger["weights"], receipt["weights"]), 0
            ),
        ],
    )


def digest(own: Run) -> str:
    """SHA-256 of the names and the bytes of all weights of all folds."""
    found = hashlib.sha256()
    for name, value in own.trained[0].network.state_dict().items():
        found.update(name.encode())
        found.update(value.numpy().tobytes())
    return found.hexdigest()


def receipt_of(frame: pd.DataFrame, own: Run) -> dict[str, str]:
    """Everything needed to train the same model again, and to see whether it is the same."""
    return {
        "table_sha256": hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest(),
        "weights": digest(own),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "spec": json.dumps(own.spec.model_dump(mode="json"), sort_keys=True),
    }


def _same(one: str, other: str) -> float:
    return float(one == other)
