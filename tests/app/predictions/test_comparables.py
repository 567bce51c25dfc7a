"""Training rows that are like a row to predict."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from classes import state_model
from fastapi.testclient import TestClient
from house_api import become, registered, resources_of, serving, train
from houses import Built, build, house_frame, lay
from sklearn.linear_model import Ridge

from app.predictions import comparables
from app.predictions.comparables import ComparedTables
from app.settings import Settings
from models.data.design import read_seen
from models.evaluation.likeness import LEAST_SHARE

CSV = {"Content-Type": "text/csv"}
COPIES = (20, 40, 60)  # rows of the table that are alike
NO_PRICE = 5
NUMBERS, WORDS = ("area", "year", "stars", "sold"), ("quarter", "heating")


def frame() -> pd.DataFrame:
    table = house_frame()
    for row in COPIES[1:]:
        table.loc[row] = table.loc[COPIES[0]]
    table.loc[NO_PRICE, "price"] = np.nan
    table.insert(0, "Id", [f"house {row}" for row in range(len(table))])
    return table


@cache
def price_model() -> Built:
    """A model of the logarithm of prices, with a holdout."""
    with tempfile.TemporaryDirectory() as folder:
        return build(
            lay(
                Path(folder),
                frame(),
                architecture={"type": "mlp", "hidden_sizes": [4]},
                preprocessing={"target_transform": "log"},
                features={"exclude": ["Id"], "kinds": {"stars": "numeric"}},
                holdout={"fraction": 0.1},
                max_epochs=2,
            )
        )


@pytest.fixture
def client(settings: Settings, tmp_path: Path) -> Iterator[TestClient]:
    with serving(settings) as client:
        registered(client, price_model(), tmp_path / "model")
        yield client


def row_of(table: pd.DataFrame, row: int) -> dict[str, Any]:
    """A row of the table as JSON, without its target."""
    cells = table.drop(columns=["Id", "price"]).astype(object).loc[row]
    return {str(name): None if pd.isna(cell) else cell for name, cell in cells.items()}


def compared(
    client: TestClient, rows: list[dict[str, Any]], count: int, path: str = "/v1/predict"
) -> list[list[dict[str, Any]]]:
    response = client.post(path, json={"rows": rows}, params={"comparables": count})
    assert response.status_code == 200, response.text
    return [prediction["comparables"] for prediction in response.json()["predictions"]]


def by_hand(rows: list[dict[str, Any]]) -> np.ndarray:
    """(N, r) distances to the rows that the folds saw, by scikit-learn's ridge regression."""
    table = frame().iloc[price_model().case.design.rows]
    asked = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
    known = np.arange(len(table))
    asked["sold"] = pd.to_datetime(asked["sold"]).astype("int64")
    inputs, columns = [], []
    for name in NUMBERS:
        cells = asked[name].astype(float)
        learnt = cells[known]
        filled = cells.fillna(learnt.mean())
        spread = float(np.nanstd(learnt))
        inputs.append(((filled - learnt.mean()) / spread).clip(-10, 10).to_numpy())
        columns.append(name)
    for name in WORDS:
        cells = asked[name].fillna("missing")
        for level in cells[known].unique():
            inputs.append((cells == level).to_numpy(float))
            columns.append(name)
    seen = np.stack(inputs, 1)
    price = np.log(table["price"].to_numpy())
    line = Ridge(alpha=1.0).fit(seen[known], (price - price.mean()) / price.std())
    squares = np.zeros((len(rows), len(table)))
    for name in (*NUMBERS, *WORDS):
        own = np.array([column == name for column in columns])
        weights = line.coef_[own]
        if name in NUMBERS:
            weights = np.sqrt(weights**2 + LEAST_SHARE**2)
        added = seen[:, own] @ weights
        squares += (added[len(table) :, None] - added[known]) ** 2
    return np.sqrt(squares)


def test_they_are_the_nearest_of_all_rows(client: TestClient) -> None:
    """Also to rows with missing cells, levels that training did not have, and wild numbers."""
    table = frame()
    rows = [row_of(table, row) for row in range(0, 100, 7)]
    rows[1] |= {"area": 250.5, "year": 1900}
    rows[2] |= {"quarter": "harbour", "heating": None}
    rows[3] |= {"area": None, "stars": None}
    rows[4] |= {"area": 1e30}
    found = compared(client, rows, 5)

    seen = price_model().case.design.rows
    for place, distance in enumerate(by_hand(rows)):
        nearest = np.argsort(np.round(distance, 6), kind="stable")[:5]
        assert [one["row"] for one in found[place]] == seen[nearest].tolist()
        alike = [one["similarity"] for one in found[place]]
        assert alike == pytest.approx(np.exp(-distance[nearest]), abs=1e-6)
        assert [one["actual"] for one in found[place]] == table["price"][seen[nearest]].tolist()


def test_a_row_of_the_table_is_most_like_itself(client: TestClient) -> None:
    table, design = frame(), price_model().case.design
    own = [row for row in design.rows.tolist() if row not in COPIES]
    found = compared(client, [row_of(table, row) for row in own], 1)

    for row, [itself] in zip(own, found, strict=True):
        assert itself["row"] == row
        assert itself["similarity"] == 1.0
        assert itself["actual"] == table["price"][row]
        assert itself["values"] == row_of(table, row)


def test_values_can_be_predicted(client: TestClient) -> None:
    """They name the model's columns, the most important first, and are read as the table was."""
    [found] = compared(client, [row_of(frame(), 10)], 50)
    again = compared(client, [one["values"] for one in found], 1)

    ranked = [row["column"] for row in client.get("/v1/models/latest").json()["importance"]]
    assert [*found[0]["values"]] == ranked
    assert set(ranked) == {*NUMBERS, *WORDS}
    assert {type(one["values"]["year"]) for one in found} == {int}
    for one, [itself] in zip(found, again, strict=True):
        assert itself["similarity"] == 1.0
        assert itself["values"] == one["values"]


def test_neither_the_holdout_nor_rows_without_a_target(client: TestClient) -> None:
    table, case = frame(), price_model().case
    aside = [*case.holdout.rows.tolist(), NO_PRICE]
    assert len(aside) > 5
    found = compared(client, [row_of(table, row) for row in aside], 50)

    assert not {one["row"] for own in found for one in own} & {*aside}
    assert max(own[0]["similarity"] for own in found) < 1


def test_equally_similar_rows_are_in_the_order_of_the_table(client: TestClient) -> None:
    table = frame()
    copies = [row for row in COPIES if row in price_model().case.design.rows]
    assert len(copies) > 1
    for count in (1, len(copies)):
        [found] = compared(client, [row_of(table, COPIES[0])], count)
        assert [(one["row"], one["similarity"]) for one in found] == [
            (row, 1.0) for row in copies[:count]
        ]


def test_a_table_of_fewer_rows_gives_all(client: TestClient) -> None:
    resources = resources_of(client)
    model = client.get("/v1/models/latest").json()
    assert len(compared(client, [row_of(frame(), 1)], 50)[0]) == 50
    table = resources[ComparedTables]._cache.ready(model["id"])
    assert table is not None
    design = price_model().case.design

    [found] = table.most_like(design.numbers[:1], design.codes[:1], 10_000)
    assert sorted(one.row for one in found) == design.rows.tolist()
    assert [one.similarity for one in found] == sorted((o.similarity for o in found), reverse=True)


def test_by_every_name_of_the_model(client: TestClient) -> None:
    model_id = client.get("/v1/models/latest").json()["id"]
    row = row_of(frame(), 1)
    usual = compared(client, [row], 2)

    for path in (
        "/v1/predict?model=latest",
        "/v1/models/champion/predict",
        f"/v1/models/{model_id}/predict",
    ):
        assert compared(client, [row], 2, path) == usual


def test_classes(client: TestClient, tmp_path: Path) -> None:
    built = state_model()
    model_id = registered(client, built, tmp_path / "state")
    cells = built.case.cells.to_pandas()
    rows = [
        {name: cell or None for name, cell in row.items() if name != "state"}
        for row in cells.to_dict("records")
    ]
    found = compared(client, rows, 1, f"/v1/models/{model_id}/predict")

    assert [(own["row"], own["similarity"], own["actual"]) for [own] in found] == [
        (row, 1.0, state) for row, state in enumerate(cells["state"])
    ]
    nearest = compared(client, rows, 6, f"/v1/models/{model_id}/predict")
    hits = [[one["actual"] for one in own[1:]] for own in nearest]
    shares = [own.count(state) / 5 for state, own in zip(cells["state"], hits, strict=True)]
    by_chance = (cells["state"].value_counts(normalize=True) ** 2).sum()
    assert np.mean(shares) > by_chance + 0.2


def test_the_table_is_read_once_and_never_on_the_event_loop(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time in a turn of long tables, then beside them."""
    monkeypatch.setattr("app.registry.names.FRESH", 60.0)
    row = row_of(frame(), 1)
    client.post("/v1/predict", json={"rows": [row]})
    limiters: list[object] = []
    reads: list[Path] = []

    async def in_thread(work: Callable[[], Any], *, limiter: object) -> Any:
        limiters.append(limiter)
        return work()

    def noting(parquet: Path, *others: Any) -> Any:
        reads.append(parquet)
        return read_seen(parquet, *others)

    monkeypatch.setattr("app.predictions.turns.run_sync", in_thread)
    monkeypatch.setattr("models.serving.comparables.read_seen", noting)
    for _ in range(3):
        compared(client, [row], 2)
    assert limiters == [resources_of(client).bulk, None, None]
    assert len(reads) == 1


def test_another_tenant(client: TestClient) -> None:
    model_id = client.get("/v1/models/latest").json()["id"]
    row = row_of(frame(), 1)
    compared(client, [row], 1)
    become(client, "other")
    for path in ("/v1/predict", f"/v1/models/{model_id}/predict"):
        assert client.post(f"{path}?comparables=1", json={"rows": [row]}).status_code == 404


def test_a_deleted_dataset(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process deletes the model with its dataset while this one still knows the model."""
    monkeypatch.setattr("app.registry.names.FRESH", 3600.0)
    row = row_of(frame(), 1)
    with serving(settings) as here:
        compared(here, [row], 1)
        [dataset] = client.get("/v1/datasets").json()["data"]
        client.delete("/v1/aliases/champion")
        assert client.delete("/v1/jobs/latest").status_code == 204
        assert client.delete(f"/v1/datasets/{dataset['id']}").status_code == 204
        refused = here.post("/v1/predict?comparables=1", json={"rows": [row]})
        assert refused.status_code == 404
        assert f"Dataset {dataset['id']} was deleted" in refused.json()["detail"]
        assert here.post("/v1/predict", json={"rows": [row]}).status_code == 200


def test_a_damaged_table(client: TestClient) -> None:
    resources = resources_of(client)
    [parquet] = (resources.settings.root / "storage").rglob("table.parquet")
    content = parquet.read_bytes()
    parquet.write_bytes(content[:-1])
    row = row_of(frame(), 1)
    refused = client.post("/v1/predict?comparables=1", json={"rows": [row]})
    assert refused.status_code == 503
    assert refused.json()["type"].endswith("/damaged-file")
    parquet.write_bytes(content)
    assert len(compared(client, [row], 1)) == 1


def test_a_model_of_an_earlier_version(client: TestClient, tmp_path: Path) -> None:
    train(client, tmp_path / "earlier")  # its manifest has no likeness
    refused = client.post(
        "/v1/predict?model=latest&comparables=1", json={"rows": [{"Area": 100, "Quality": 3}]}
    )
    assert refused.status_code == 422
    [error] = refused.json()["errors"]
    assert error["detail"].startswith("query parameter 'comparables'")
    assert "train it again" in error["detail"]


@pytest.mark.parametrize("count", ["0", "51", "-1", "2.5", "1_0", "all"])
def test_how_many_there_may_be(client: TestClient, count: str) -> None:
    body = {"rows": [row_of(frame(), 1)]}
    refused = client.post("/v1/predict", json=body, params={"comparables": count})
    assert refused.status_code == 422
    assert "query parameter 'comparables'" in refused.json()["errors"][0]["detail"]


def test_json_alone(client: TestClient) -> None:
    body = {"rows": [row_of(frame(), 1)]}
    text = frame().head(2).to_csv(index=False)
    for answer in (
        client.post("/v1/predict?comparables=1", json=body, headers={"Accept": "text/csv"}),
        client.post("/v1/predict?comparables=1", content=text, headers=CSV),
        client.post(
            "/v1/predict?comparables=1", content=text, headers=CSV | {"Accept": "application/json"}
        ),
    ):
        assert answer.status_code == 422
        assert "as JSON" in answer.json()["detail"]


@pytest.mark.parametrize(("limit", "size"), [("MOST_CELLS", 3 * 2 * 6), ("MOST_PRODUCTS", None)])
def test_a_request_is_limited(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, limit: str, size: int | None
) -> None:
    """By the cells of its answer: three rows with two comparables of six columns. And by the
    products of its search."""
    table = len(price_model().case.design)
    likeness = price_model().manifest.likeness
    assert likeness is not None
    assert likeness.width == 6
    monkeypatch.setattr(comparables, limit, size or 3 * table * likeness.width)
    row = row_of(frame(), 1)
    assert len(compared(client, [row] * 3, 2)) == 3
    refused = client.post("/v1/predict?comparables=2", json={"rows": [row] * 4})
    assert refused.status_code == 422
    assert "a request can have at most 3 rows" in refused.json()["detail"]


def test_a_table_that_does_not_fit(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources_of(client)[ComparedTables], "_capacity", 1_000)
    row = row_of(frame(), 1)
    refused = client.post("/v1/predict?comparables=2", json={"rows": [row]})
    assert refused.status_code == 413
    assert "above the 1,000" in refused.json()["detail"]
