"""Permutation importance on rows that the model did not see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from houses import lay, score, train

HOUSES = 300


def test_what_the_price_depends_on_comes_first(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    street = chance.choice(["Pave", "Grvl"], HOUSES)
    frame = pd.DataFrame(
        {
            "area": chance.uniform(50, 200, HOUSES),
            "noise": chance.uniform(0, 1, HOUSES),
            "street": street,
            "colour": chance.choice(["red", "blue"], HOUSES),
        }
    )
    frame["price"] = 1000 * frame["area"] + np.where(street == "Pave", 30_000, 0) + 100_000
    case = lay(
        tmp_path,
        frame,
        architecture={"type": "linear"},
        k_folds=3,
        max_epochs=60,
        early_stopping=None,
        optimizer={"learning_rate": 0.03},
    )
    importance = score(case, train(case)).importance

    growth = {row["column"]: row["error_growth"] for row in importance}
    assert list(growth)[:2] == ["area", "street"]
    assert growth["area"] > growth["street"] > 0.5
    assert abs(growth["noise"]) < 0.2
    assert abs(growth["colour"]) < 0.2
