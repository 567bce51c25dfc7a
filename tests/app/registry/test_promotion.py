"""An alias that moves only to what is better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from house_api import houses_csv, manifest, register, resources_of, submit, upload, write_artifacts

from app.registry import promotion
from models.evaluation.comparison import Comparison

TRUTH = np.linspace(50_000, 300_000, 60)


@pytest.fixture
def model(client: TestClient, tmp_path: Path) -> Callable[..., str]:
    """Registers a model that predicts `factor` times the truth, out of fold; gives its id."""
    upload(client)

    def of(
        factor: float | np.ndarray,
        rows: Sequence[int] = range(60),
        transform: Literal["log", "none"] = "log",
        trained: dict[str, Any] | None = None,
        **spec: Any,
    ) -> str:
        files = write_artifacts(tmp_path / "model")
        described = manifest().model_copy(update={"target_transform": transform})
        described.spec.update(trained or {})
        (tmp_path / "model" / "manifest.json").write_text(described.model_dump_json())
        actual = TRUTH[list(rows)]
        table = {
            "row": list(rows),
            "fold": [row % 5 for row in rows],
            "actual": actual,
            "prediction": actual * factor,
        }
        pq.write_table(pa.table(table), tmp_path / "model" / "oof.parquet")
        return register(resources_of(client), submit(client, **spec)["id"], files)

    return of


def put(
    client: TestClient,
    model_id: str,
    than: str | None = "champion",
    alias: str = "champion",
    **body: Any,
) -> Any:
    body |= {"model_id": model_id, "if_better_than": than}
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
        "difference": pytest.approx(np.log(1.2) - np.log(1.1)),
        "standard_error": pytest.approx(0, abs=1e-9),  # each row says the same
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
    client: TestClient, model: Callable[..., str]
) -> None:
    """The one with a holdout was not asked about the rows on which the other errs most."""
    model(1.1, rows=range(0, 50))
    shuffled = [*range(59, 19, -1)]
    challenger = model(np.where(np.array(shuffled) < 40, 1.05, 3.0), rows=shuffled)

    refused = put(client, challenger)

    squares = (20 * np.log(1.05) ** 2 + 10 * np.log(3) ** 2) / 30
    assert refused.status_code == 409
    assert "On the 30 rows" in refused.json()["detail"]
    assert f"rmse_log is {np.sqrt(squares):.6g} for {challenger}" in refused.json()["detail"]


def test_a_difference_within_chance_moves_nothing(
    client: TestClient, model: Callable[..., str]
) -> None:
    """Of two models with the same distribution of errors the luckier one is not the better one."""
    chance = np.random.default_rng(0)
    spread = chance.normal(0, 0.1, 60)
    first = model(np.exp(spread))
    luckier = model(np.exp(np.roll(spread, 1) * 0.97))

    refused = put(client, luckier)

    assert refused.status_code == 409
    assert "must exceed 1.645" in refused.json()["detail"]
    assert champion(client) == first
    forced = put(client, luckier, force=True)
    assert forced.status_code == 200
    comparison = forced.json()["comparison"]
    assert 0 < comparison["difference"] < 1.645 * comparison["standard_error"]
    assert comparison["difference"] == pytest.approx(
        comparison["champion"] - comparison["challenger"]
    )
    assert champion(client) == luckier
    much_better = model(np.exp(spread / 4))
    assert put(client, much_better).status_code == 200


@pytest.mark.parametrize(
    ("transforms", "losses", "metric"),
    [
        (("log", "log"), ("squared_error", "huber"), "rmse_log"),
        (("log", "none"), ("squared_error", "squared_error"), "rmse"),
        (("none", "none"), ("absolute_error", "absolute_error"), "mae"),
        (("log", "log"), ("absolute_error", "absolute_error"), "mae_log"),
        (("none", "none"), ("absolute_error", "squared_error"), "rmse"),
    ],
)
def test_the_metric_is_what_both_models_were_trained_for(
    client: TestClient,
    model: Callable[..., str],
    transforms: tuple[str, str],
    losses: tuple[str, str],
    metric: str,
) -> None:
    """A single prediction below 0 of a model without logarithms changes nothing about it."""
    factors = np.where(np.arange(60) == 7, -0.01 if "none" in transforms else 0.9, 1.2)
    for transform, loss, factor in zip(transforms, losses, (1.5, factors), strict=True):
        latest = model(
            factor if transform == "none" else np.abs(factor),
            transform=transform,
            trained={"loss": loss},
        )
    comparison = put(client, latest, force=True).json()["comparison"]

    assert comparison["metric"] == metric
    if metric == "mae":
        assert comparison["champion"] == pytest.approx(0.5 * TRUTH.mean())
    if metric == "rmse":
        assert comparison["champion"] == pytest.approx(0.5 * np.sqrt(np.mean(TRUTH**2)))


@pytest.mark.parametrize(
    "trained",
    [
        {"folds": {"type": "stratified", "column": None}},
        {"folds": {"type": "group", "column": "Zone"}},
        {"holdout": {"fraction": 0.1}},
    ],
)
def test_models_of_other_folds_are_not_compared(
    client: TestClient, model: Callable[..., str], trained: dict[str, Any]
) -> None:
    first = model(1.2)
    refused = put(client, model(1.1, trained=trained), force=True)
    assert refused.status_code == 409
    assert "Train both with the same folds" in refused.json()["detail"]
    assert champion(client) == first


def test_an_alias_keeps_to_its_target(client: TestClient, model: Callable[..., str]) -> None:
    first = model(1.2)
    other = model(1.1, target="Area")

    refused = put(client, other, than=None)

    assert refused.status_code == 409
    for named in ("'Price'", "'Area'", first, other):
        assert named in refused.json()["detail"]
    assert put(client, other, force=True).status_code == 409  # nothing to compare it with
    assert champion(client) == first
    assert put(client, other, than=None, alias="areas").status_code == 200
    assert put(client, other, than=None, force=True).status_code == 200
    assert champion(client) == other
    back = client.post("/v1/aliases/champion/rollback")
    assert back.status_code == 409
    assert "no model of 'Area'" in back.json()["detail"]
    second = model(1.1, target="Area")
    assert put(client, second, than=None).status_code == 200
    assert client.post("/v1/aliases/champion/rollback").json()["model_id"] == other


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


@pytest.mark.usefixtures("no_renewals")
def test_a_champion_that_moved_meanwhile_is_left_alone(
    both_clients: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(both_clients)
    resources = resources_of(both_clients)
    first, second, third = (
        register(resources, submit(both_clients)["id"], write_artifacts(tmp_path / "model"))
        for _ in range(3)
    )

    def slowly(*_: object) -> Comparison:
        assert resources.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        moved = both_clients.put("/v1/aliases/champion", json={"model_id": third})
        assert moved.status_code == 200
        return Comparison("rmse_log", 60, 0.1, 0.2, 0.1, 0.01)

    monkeypatch.setattr(promotion, "compare", slowly)
    refused = put(both_clients, second)

    assert refused.status_code == 409
    assert f"was compared with {first}" in refused.json()["detail"]
    assert champion(both_clients) == third
