"""An alias that moves only to what is better."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from house_api import houses_csv, register, resources_of, submit, upload, write_artifacts

from app.registry import promotion
from models.evaluation.comparison import Comparison

TRUTH = np.linspace(50_000, 300_000, 60)


@pytest.fixture
def model(client: TestClient, tmp_path: Path) -> Callable[..., str]:
    """Registers a model that predicts `factor` times the truth, out of fold; gives its id."""
    upload(client)

    def of(
        factor: float,
        rows: range = range(60),
        shift: float = 0.0,
        **spec: Any,
    ) -> str:
        files = write_artifacts(tmp_path / "model")
        actual = TRUTH[rows.start : rows.stop] + shift
        table = {"row": list(rows), "actual": actual, "prediction": actual * factor}
        pq.write_table(pa.table(table), tmp_path / "model" / "oof.parquet")
        return register(resources_of(client), submit(client, **spec)["id"], files)

    return of


def put(client: TestClient, model_id: str, than: str = "champion", alias: str = "champion") -> Any:
    body = {"model_id": model_id, "if_better_than": than}
    return client.put(f"/v1/aliases/{alias}", json=body)


def champion(client: TestClient) -> str:
    return str(client.get("/v1/models/champion").json()["id"])


def test_a_better_model_becomes_champion(client: TestClient, model: Callable[..., str]) -> None:
    worse = model(1.2)
    better = model(1.1)

    answer = put(client, better)

    assert answer.status_code == 200
    assert champion(client) == answer.json()["model_id"] == better
    comparison = answer.json()["comparison"]
    assert comparison == {
        "metric": "rmse_log",
        "rows": 60,
        "challenger": pytest.approx(np.log(1.1)),
        "champion": pytest.approx(np.log(1.2)),
    }
    assert client.get("/v1/aliases").json()["data"][0]["comparison"] is None
    assert put(client, better, than=worse, alias="production").status_code == 200


def test_a_worse_model_does_not(client: TestClient, model: Callable[..., str]) -> None:
    first = model(1.1)
    for factor in (1.2, 1.1):
        refused = put(client, model(factor))
        assert refused.status_code == 409
        detail = refused.json()["detail"]
        assert f"rmse_log is {np.log(factor):.6g} for" in detail
        assert f"{np.log(1.1):.6g} for {first}" in detail
        assert "60 rows" in detail
    assert champion(client) == first
    always = client.put("/v1/aliases/champion", json={"model_id": "latest", "if_better_than": None})
    assert always.json()["comparison"] is None
    assert champion(client) != first


def test_models_are_compared_on_the_rows_that_both_predicted(
    client: TestClient, model: Callable[..., str], tmp_path: Path
) -> None:
    """The one with a holdout was not asked about the rows on which the other errs most."""
    model(1.1, rows=range(0, 50))
    files = write_artifacts(tmp_path / "mixed")
    prediction = np.where(np.arange(60) < 40, TRUTH * 1.05, TRUTH * 3)
    table = pa.table({"row": range(20, 60), "actual": TRUTH[20:], "prediction": prediction[20:]})
    pq.write_table(table.take(list(reversed(range(40)))), tmp_path / "mixed" / "oof.parquet")
    challenger = register(resources_of(client), submit(client)["id"], files)

    refused = put(client, challenger)

    squares = (20 * np.log(1.05) ** 2 + 10 * np.log(3) ** 2) / 30
    assert refused.status_code == 409
    assert "On the 30 rows" in refused.json()["detail"]
    assert f"rmse_log is {np.sqrt(squares):.6g} for {challenger}" in refused.json()["detail"]


def test_without_logarithms_the_error_is_that_of_the_target(
    client: TestClient, model: Callable[..., str]
) -> None:
    model(1.2, shift=-100_000)
    comparison = put(client, model(1.1, shift=-100_000)).json()["comparison"]

    assert comparison["metric"] == "rmse"
    truth = TRUTH - 100_000
    assert comparison["challenger"] == pytest.approx(0.1 * np.sqrt(np.mean(truth**2)))


def test_what_cannot_be_compared_says_why(client: TestClient, model: Callable[..., str]) -> None:
    first = model(1.2, rows=range(0, 30))
    assert "better than itself" in put(client, first).json()["detail"]
    assert "no row" in put(client, model(1.1, rows=range(30, 60))).json()["detail"]
    assert "'Area'" in put(client, model(1.1, target="Area")).json()["detail"]
    upload(client, houses_csv(61))
    other = put(client, model(1.1))
    assert other.status_code == 409
    assert "Train both on one dataset" in other.json()["detail"]
    assert champion(client) == first


@pytest.mark.parametrize("names", [("latest", "nobody"), ("mdl_none", "champion")])
def test_unknown_names_are_not_found(
    client: TestClient, model: Callable[..., str], names: tuple[str, str]
) -> None:
    model(1.2)
    assert put(client, *names).status_code == 404


def test_a_champion_that_moved_meanwhile_is_left_alone(
    both_clients: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(both_clients)
    resources = resources_of(both_clients)
    first, second, third = (
        register(resources, submit(both_clients)["id"], write_artifacts(tmp_path / "model"))
        for _ in range(3)
    )

    def slowly(*_: bytes) -> Comparison:
        assert resources.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        moved = both_clients.put("/v1/aliases/champion", json={"model_id": third})
        assert moved.status_code == 200
        return Comparison("rmse_log", 60, 0.1, 0.2)

    monkeypatch.setattr(promotion, "compare", slowly)
    refused = put(both_clients, second)

    assert refused.status_code == 409
    assert f"moved away from {first}" in refused.json()["detail"]
    assert champion(both_clients) == third
