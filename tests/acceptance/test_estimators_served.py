"""The estimators against a real service."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from foldhouse_client import Foldhouse
from foldhouse_client.errors import FitFailed
from foldhouse_client.estimators import FoldhouseClassifier, FoldhouseRegressor
from test_serve import serving

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(600)]

ROWS = 240
SMALL = {"k_folds": 2, "max_epochs": 20, "architecture": {"type": "linear"}, "baselines": []}


def houses() -> pd.DataFrame:
    """A column of each type, all but the first with missing cells where the type has them."""
    chance = np.random.default_rng(0)
    area = np.round(chance.uniform(50, 250, ROWS), 3)  # 123.456 could be read in two ways
    some = chance.random(ROWS) < 0.1
    frame = pd.DataFrame(
        {
            "area": area,
            "depth": chance.uniform(0, 1, ROWS).astype(np.float32),
            "rooms": pd.array(chance.integers(1, 9, ROWS), dtype="Int64"),
            "street, or so": chance.choice(['a "paved" one', "None", "Grvl"], ROWS),
            "zone": pd.Categorical(chance.choice([20, 30, 150], ROWS)),
            "garage": chance.random(ROWS) < 0.5,
            "sold": pd.Timestamp("2010-07-31 18:30:00.25")
            + pd.to_timedelta(chance.integers(0, 900, ROWS), unit="D"),
        },
        index=chance.permutation(ROWS),
    )
    for name in ("depth", "rooms", "street, or so", "zone", "sold"):
        frame.loc[frame.index[some], name] = None
    return frame


def test_a_frame_is_trained_and_predicted_as_it_is(tmp_path: Path) -> None:
    X = houses()
    rise = X["zone"].map({20: 0.0, 30: 90.0, 150: -40.0}).astype(float).fillna(0.0)
    y = (X["area"] + rise).rename("price")
    with serving(tmp_path / "data") as (_, url), Foldhouse(url) as client:
        model = FoldhouseRegressor(url, spec=SMALL, name="in a test").fit(X, y)
        assert model.job_["name"] == "in a test"

        columns = {
            column["name"]: column for column in client.dataset(model.job_["dataset_id"])["columns"]
        }
        assert [*columns] == [*X.columns, "price"]
        for name in X.columns:
            assert columns[name]["missing"] == X[name].isna().sum(), name
        assert columns["area"]["mean"] == pytest.approx(X["area"].mean())
        assert columns["sold"]["kind"] == "datetime"
        assert {level for level, _ in columns["street, or so"]["top"]} == {
            'a "paved" one', "None", "Grvl"
        }  # fmt: skip
        features = {
            own["name"]: own for own in client.model(model.model_id_)["categorical"]
        }  # a class code by its type, although it has numbers
        assert "zone" in features

        predicted = model.predict(X)
        assert model.score(X, y) > 0.9
        assert model.predict(X[5:6]) == pytest.approx(predicted[5:6])
        warned = {
            warning["code"]
            for row in client.predict(X.reset_index(drop=True), model.model_id_)
            for warning in row["warnings"]
        }
        assert warned <= {"missing_value"}
        wide, narrow = (model.predict_interval(X, coverage=share) for share in (0.95, 0.6))
        assert (wide[:, 0] <= narrow[:, 0]).all()
        assert (narrow[:, 1] <= wide[:, 1]).all()

        with pytest.raises(FitFailed, match="k_folds"):
            FoldhouseRegressor(url, spec={"k_folds": 1}).fit(X, y)

        tall = X["area"].to_numpy() > 150
        sweep = {"search_space": {"weight_decay": {"choices": [0.0, 0.001]}}, "sampler": "grid"}
        classes = FoldhouseClassifier(url, spec=SMALL, sweep=sweep).fit(X, tall)
        assert classes.job_["progress"]["succeeded"] == 2
        assert classes.classes_.tolist() == [False, True]
        assert classes.score(X, tall) > 0.9
        shares = classes.predict_proba(X)
        assert shares.sum(axis=1) == pytest.approx(np.ones(ROWS))
        assert shares[tall, 1].mean() > shares[~tall, 1].mean() + 0.5
