"""The estimators, against a service in memory."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_service import FakeService
from foldhouse_client import Foldhouse, Unfinished, Unreachable, estimators, following
from foldhouse_client.errors import FitFailed
from foldhouse_client.estimators import FoldhouseClassifier, FoldhouseRegressor
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

ROWS = 60
RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    service = FakeService()
    monkeypatch.setattr(estimators, "Foldhouse", partial(Foldhouse, transport=service))
    monkeypatch.setattr(following, "POLL_FIRST", 0.001)
    return service


@parametrize_with_checks([FoldhouseRegressor(), FoldhouseClassifier()])
def test_scikit_learns_own_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.fixture
def houses() -> pd.DataFrame:
    area = RANDOM.uniform(50, 250, ROWS)
    return pd.DataFrame(
        {
            "area": area,
            "small": area.astype(np.float32),
            "rooms": pd.array([*range(ROWS - 1), None], dtype="Int64"),
            "street, or so": ['a "paved" one', "Grvl", None] * 20,
            "zone": pd.Categorical([*range(1, 4)] * 20),
            "garage": [True, False] * 30,
            "sold": pd.to_datetime(["2010-07-31 18:30", None] * 30),
        },
        index=range(100, 100 + ROWS),
    )


def test_cells_go_up_and_are_priced_as_they_are(houses: pd.DataFrame, service: FakeService) -> None:
    price = pd.Series(houses["area"].to_numpy() * 1000, name="price")  # another index
    model = FoldhouseRegressor(spec={"features": {"exclude": ["rooms"]}}, name="mine")
    assert model.fit(houses, price) is model

    [table] = service.tables
    first, second = table.splitlines()[1:3]
    assert table.splitlines()[0] == 'area,small,rooms,"street, or so",zone,garage,sold,price'
    area = houses["area"].iloc[0]
    small = float(houses["small"].iloc[0])
    assert first == (
        f'{area!r},{small!r},0,"a ""paved"" one",1,True,2010-07-31 18:30:00,{area * 1000!r}'
    ).replace("np.float64(", "").replace(")", "")
    assert second.split(",")[2:7] == ["1", "Grvl", "2", "False", "NA"]
    assert service.runs == [
        {
            "features": {"exclude": ["rooms"], "kinds": {"zone": "categorical"}},
            "name": "mine",
            "target": "price",
            "task": "regression",
            "dataset_id": "ds_0",
        }
    ]
    assert model.model_id_ == "mdl_0"
    assert model.job_["id"] == "job_0"
    assert model.feature_names_in_.tolist() == houses.columns.tolist()
    assert model.score(houses, price) > 0.9
    bounds = model.predict_interval(houses, coverage=0.8)
    assert bounds.shape == (ROWS, 2)
    assert np.isnan(bounds[:, 1]).all()
    assert pickle.loads(pickle.dumps(model)).predict(houses[:1]).shape == (1,)


@pytest.mark.parametrize("labels", [["no", "yes"], [2, 7], [0.0, 1.0], [False, True]])
def test_classes_come_back_as_they_were(labels: list[Any], houses: pd.DataFrame) -> None:
    y = np.array(labels)[(houses["area"] > 150).astype(int)]
    model = FoldhouseClassifier().fit(houses, y)
    assert model.classes_.tolist() == labels
    predicted = model.predict(houses)
    assert predicted.dtype == y.dtype
    assert model.score(houses, y) > 0.9
    shares = model.predict_proba(houses)
    assert shares.sum(axis=1) == pytest.approx(np.ones(ROWS))
    assert (model.classes_[shares.argmax(axis=1)] == predicted).all()


def test_it_works_inside_a_pipeline_and_a_search(houses: pd.DataFrame) -> None:
    y = houses["area"] ** 2
    kept = make_column_transformer((StandardScaler(), ["area", "small"]))
    model = make_pipeline(kept, FoldhouseRegressor())
    assert cross_val_score(model, houses, y, cv=3).min() > 0.8
    grid = {"foldhouseregressor__spec": [{"k_folds": 2}, {"k_folds": 3}]}
    search = GridSearchCV(model, grid, cv=2).fit(houses, y)
    assert search.best_estimator_[-1].job_["id"] == "job_7"  # 3, 4 and a last one
    assert (
        clone(search.best_estimator_).get_params()["foldhouseregressor__spec"]
        in grid["foldhouseregressor__spec"]
    )


def test_a_sweep_is_trained_instead(houses: pd.DataFrame, service: FakeService) -> None:
    sweep = {"search_space": {"dropout": {"choices": [0.0, 0.1]}}, "n_trials": 2}
    model = FoldhouseRegressor(spec={"k_folds": 3}, sweep=sweep)
    model.fit(houses[["area"]], houses["small"].to_numpy())
    assert service.runs == [
        {**sweep, "spec": {"k_folds": 3, "task": "regression"}, "target": "y", "dataset_id": "ds_0"}
    ]
    assert model.job_["id"] == "swp_0"
    assert len(model.predict(houses[["area"]])) == ROWS


def test_what_the_service_says_is_what_fit_raises(
    houses: pd.DataFrame, service: FakeService
) -> None:
    X, y = houses[["area"]], houses["small"]
    with pytest.raises(FitFailed, match="'k_folds' must be at least 2") as refused:
        FoldhouseRegressor(spec={"k_folds": 1}).fit(X, y)
    assert refused.value.errors[0].pointer == "/k_folds"
    error = {"title": "Training failed", "status": 500, "detail": "not finite", "errors": []}
    service.ending = {"status": "failed", "error": error}
    with pytest.raises(FitFailed, match="Training failed: not finite"):
        FoldhouseRegressor().fit(X, y)
    service.ending = {"status": "cancelled"}
    with pytest.raises(FitFailed, match="The job was cancelled"):
        FoldhouseRegressor().fit(X, y)
    assert service.cancelled == []


def test_a_service_that_is_away_is_not_a_failed_fit(
    houses: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimators, "Foldhouse", Foldhouse)
    with pytest.raises(Unreachable):
        FoldhouseRegressor("http://127.0.0.1:1").fit(houses[["area"]], houses["small"])


@pytest.mark.parametrize("sweep", [None, {"n_trials": 2}])
def test_a_fit_that_nobody_waits_for_is_cancelled(
    houses: pd.DataFrame, service: FakeService, sweep: dict[str, Any] | None
) -> None:
    service.ending = {"status": "running"}
    model = FoldhouseRegressor(sweep=sweep, timeout=0.01)
    with pytest.raises(FitFailed, match=r"longer than 0\.01 s") as raised:
        model.fit(houses[["area"]], houses["small"])
    assert isinstance(raised.value.__cause__, Unfinished)
    assert service.cancelled == ["job_0" if sweep is None else "swp_0"]


@pytest.mark.parametrize("dtype", ["category", "string", "Int64", "boolean", "float32"])
def test_a_target_may_have_any_type_of_classes(houses: pd.DataFrame, dtype: str) -> None:
    y = (houses["area"] > 150).astype(int).astype(dtype).rename("y")
    assert FoldhouseClassifier().fit(houses, y).predict(houses).tolist() == y.tolist()


def test_a_fit_that_is_interrupted_is_cancelled(
    houses: pd.DataFrame, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Foldhouse, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        FoldhouseRegressor().fit(houses[["area"]], houses["small"])
    assert service.cancelled == ["job_0"]


def test_classes_that_the_service_reads_as_others_are_refused(houses: pd.DataFrame) -> None:
    with pytest.raises(FitFailed, match=r"y has 1, 1\.0; the model has 1\.0"):
        FoldhouseClassifier().fit(houses[["area"]], ["1", "1.0"] * 30)


X = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["x", "y", "z"]})
Y = [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("given", "y", "message"),
    [
        (X, pd.Series(Y, name="a"), "both called 'a': rename one"),
        (X.rename(columns={"a": "y"}), Y, "both called 'y'"),
        (X.set_axis(["a", "a"], axis=1), Y, "has the column 'a' twice"),
        (X.set_axis(["a", 7], axis=1), Y, "must be strings, got 7"),
        (X.rename(columns={"a": " a"}), Y, "read the column name ' a' as another"),
        (X.rename(columns={"a": "a\nb"}), Y, "read the column name"),
        (X, pd.Series(Y, name=""), "read the column name ''"),
        (X["a"], Y, "Expected a 2-?dimensional|Expected 2D array"),
        (X.assign(a=np.inf), Y, "column 'a' of X contains infinity"),
        (X.assign(a=1j), Y, "complex data"),
        (X.assign(a=[[1], 2, 3]), Y, "row 1, column a: a list cannot be a cell"),
        (X.assign(a=timedelta(days=1)), Y, "a Timedelta cannot be a cell"),
        (X.assign(a=pd.period_range("2010", periods=3)), Y, "a Period cannot be a cell"),
        (X, [1.0, np.nan, 3.0], "Input y contains NaN"),
        (X, [1.0, np.inf, 3.0], "Input y contains infinity"),
        (X, None, "requires y"),
        (X, [1.0, 2.0], "inconsistent numbers of samples"),
        (X, np.ones((3, 2)), "y should be a 1d array"),
        (X[:1], Y[:1], "minimum of 2 is required"),
        (X[[]], Y, "minimum of 1 is required"),
    ],
)
def test_what_cannot_be_sent_is_refused(given: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FoldhouseRegressor().fit(given, y)


@pytest.mark.parametrize(
    "given", [csr_array(np.eye(3)), pd.DataFrame({"a": pd.arrays.SparseArray([0, 1, 0])})]
)
def test_sparse_tables_are_refused(given: Any) -> None:
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        FoldhouseRegressor().fit(given, Y)


def test_other_columns_than_those_of_fit_are_refused(houses: pd.DataFrame) -> None:
    model = FoldhouseRegressor().fit(houses[["area", "small"]], houses["area"].to_numpy())
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(houses[["area", "garage"]])
    with pytest.raises(ValueError, match="same order"):
        model.predict(houses[["small", "area"]])


@pytest.mark.parametrize("field", ["target", "task", "dataset_id"])
def test_x_and_y_decide_what_is_predicted(field: str) -> None:
    for given in ({"spec": {field: "a"}}, {"sweep": {field: "a"}}):
        with pytest.raises(ValueError, match=f"must not have '{field}'"):
            FoldhouseRegressor(**given).fit(X, Y)
