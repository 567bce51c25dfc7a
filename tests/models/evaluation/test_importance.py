"""Permutation importance on rows that the model did not see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
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

    for row in importance:
        assert 0 < row["standard_error"] < 0.2 * (1 + row["error_growth"])
    assert score(case, train(case)).importance == importance  # the seed decides
    growth = {row["column"]: row["error_growth"] for row in importance}
    assert list(growth)[:2] == ["area", "street"]
    assert growth["area"] > growth["street"] > 0.5
    assert abs(growth["noise"]) < 0.2
    assert abs(growth["colour"]) < 0.2


def test_importance_is_the_growth_of_the_root_mean_square_error(tmp_path: Path) -> None:
    """A shuffled column misses by the difference of two of its cells, of twice its variance. That
    is three times the noise's here: beside the noise itself four times its square, twice its
    root."""
    chance = np.random.default_rng(0)
    noise = 10.0
    frame = pd.DataFrame({"area": chance.normal(0, noise * 1.5**0.5, 1_000)})
    frame["price"] = 200 + frame["area"] + chance.normal(0, noise, 1_000)
    case = lay(
        tmp_path,
        frame,
        architecture={"type": "linear"},
        preprocessing={"target_transform": "none"},
        k_folds=2,
        max_epochs=40,
        early_stopping=None,
        optimizer={"learning_rate": 0.03},
    )

    [area] = score(case, train(case)).importance

    assert area["error_growth"] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("kind", ["group", "time"])
def test_a_column_that_is_constant_in_each_fold_has_its_due(kind: str, tmp_path: Path) -> None:
    """Shuffled inside the folds it would get exactly 0."""
    rng = np.random.default_rng(0)
    year = np.repeat(np.arange(8.0), 30)
    frame = pd.DataFrame({"by": year, "year": year, "noise": rng.uniform(0, 1, 240)})
    frame["price"] = 100 + 20 * year + rng.normal(0, 3, 240)
    case = lay(
        tmp_path,
        frame,
        architecture={"type": "linear"},
        features={"exclude": [] if kind == "group" else ["by"]},
        folds={"type": kind, "column": "by"},
        preprocessing={"numeric_scaling": "standard"},
        k_folds=7 if kind == "time" else 8,
        max_epochs=60,
        early_stopping=None,
        optimizer={"learning_rate": 0.03},
    )
    assert all(len(set(case.design.numbers[f.validation, 0])) == 1 for f in case.folds)
    first, second = score(case, train(case)).importance
    assert (first["column"], second["column"]) == ("year", "noise")
    assert first["error_growth"] > 1
    assert abs(second["error_growth"]) < 0.2
