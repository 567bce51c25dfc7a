"""What a run is said to take: the parts that its seconds are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from houses import Case, house_frame, lay, score, train

from models.planning.estimate import REFERENCE_RATE, Machine, estimate, importance_rows
from models.tables.profile import Profile

REFERENCE = Machine(1, REFERENCE_RATE)


def seconds(case: Case, **described: int) -> float:
    """Of a case, were its table described so."""
    profile: Profile = case.profile.model_copy(update=described)
    return estimate(case.spec, profile, REFERENCE).seconds


@pytest.mark.parametrize(
    ("rows", "columns", "shuffled"),
    [(300, 8, 300), (20_000, 20, 1_000), (2_000, 500, 200), (1_000, 1_999, 50), (9, 200_000, 1)],
)
def test_importance_is_bounded(rows: int, columns: int, shuffled: int) -> None:
    assert importance_rows(rows, columns) == shuffled


def test_importance_prices_as_many_rows_as_are_counted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = lay(tmp_path, house_frame(), architecture={"type": "linear"}, max_epochs=2)
    trained = train(case)
    priced = 0

    def counted(served: object, numbers: np.ndarray, codes: np.ndarray) -> object:
        nonlocal priced
        priced += len(numbers)
        return predict(served, numbers, codes)

    from models.evaluation import importance

    predict = importance.predict
    monkeypatch.setattr(importance, "predict", counted)
    score(case, trained)
    columns = len(case.spec.features.kinds)
    assert priced == importance_rows(len(case.design), columns) * (columns + 1)


def test_a_wide_table_takes_long_to_explain(tmp_path: Path) -> None:
    """Whatever it trains: 100,000 rows of 2,000 inputs and more go through a network."""
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(rng.normal(size=(60, 400))).add_prefix("x")
    case = lay(tmp_path, wide.assign(price=rng.normal(size=60)), max_epochs=1, seed=1)
    narrow = lay(tmp_path, wide.iloc[:, :4].assign(price=rng.normal(size=60)), max_epochs=1)
    # 400 columns of 17 inputs, two members a fold, 60 rows shuffled for each column.
    products = 2 * 2 * (400 * 17 * 256) * 60 * 400
    assert seconds(case) - seconds(narrow) > products / 66e9


def test_only_rows_that_folds_see_are_trained_on(tmp_path: Path) -> None:
    frame = house_frame()
    whole = lay(tmp_path, frame)
    held_out = lay(tmp_path, frame, holdout={"fraction": 0.4})
    frame.loc[::2, "price"] = np.nan
    gappy = lay(tmp_path, frame)
    assert seconds(held_out, rows=10_000) < seconds(whole, rows=10_000)
    assert seconds(gappy) < seconds(whole)
