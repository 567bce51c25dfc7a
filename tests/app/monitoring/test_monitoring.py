"""What a model was asked: counts, latencies and drift, over threads, processes and outages."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from house_api import ZONES, manifest, price, resources_of, serving, train
from polling import wait_until
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from app.monitoring.service import drift_of, stability_index
from app.monitoring.usage import PUT_ASIDE, Bins, Usage
from app.registry import repository
from app.settings import Settings
from app.storage.tables import LOCAL_TENANT, Model, ModelUsage
from models.serving.encoding import EncodedRows
from models.serving.manifest import bins

ROW = {"Area": 100, "Quality": 3, "Zone": "south"}
CSV = {"Content-Type": "text/csv"}


@pytest.fixture
def client(settings: Settings, tmp_path: Path) -> Iterator[TestClient]:
    """The application with a champion."""
    with serving(settings) as client:
        train(client, tmp_path / "model")
        yield client


def monitored(client: TestClient, **params: Any) -> dict[str, Any]:
    response = client.get("/v1/models/champion/monitoring", params=params)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def encoded(areas: np.ndarray) -> EncodedRows:
    rows = len(areas)
    numbers = np.column_stack([areas, np.full(rows, 5.0)])
    return EncodedRows(numbers, np.zeros((rows, 1), np.int64), [[] for _ in range(rows)])


def test_a_model_that_was_asked_nothing(client: TestClient) -> None:
    found = monitored(client)
    assert (found["requests"], found["rows"], found["columns"]) == (0, 0, [])
    assert found["latency_seconds"] == {"p50": None, "p90": None, "p99": None}


def test_requests_rows_and_warnings_are_counted(client: TestClient) -> None:
    client.post("/v1/predict", json={"rows": [ROW, ROW | {"Zone": "west", "Area": None}]})
    client.post("/v1/predict", content="Area,Quality,Zone\n100,3,west\n", headers=CSV)
    refused = client.post("/v1/predict?on_unknown=error", json={"rows": [ROW | {"Zone": "west"}]})

    found = monitored(client)
    assert refused.status_code == 422
    assert (found["requests"], found["rows"]) == (2, 3)
    assert found["warnings"] == {"unknown_category": 2, "missing_value": 1}
    assert 0 < found["latency_seconds"]["p50"] <= found["latency_seconds"]["p99"] <= 60
    assert {column["column"] for column in found["columns"]} == {"Area", "Quality", "Zone"}


def test_rows_like_those_of_training_do_not_drift_and_others_do(client: TestClient) -> None:
    usual = "".join(f"{50 + place % 90},{place % 10},south\n" for place in range(900))
    client.post("/v1/predict", content="Area,Quality,Zone\n" + usual, headers=CSV)
    before = {row["column"]: row for row in monitored(client)["columns"]}
    odd = "".join(f"{130 + place % 10},{place % 10},south\n" for place in range(3000))
    client.post("/v1/predict", content="Area,Quality,Zone\n" + odd, headers=CSV)
    after = monitored(client)["columns"]

    assert before["Area"]["drift"] == before["Quality"]["drift"] == "none"
    assert before["Area"]["psi"] < before["Area"]["by_chance"]
    assert (after[0]["column"], after[0]["drift"]) in (("Area", "large"), ("Zone", "large"))
    assert {row["column"]: row["drift"] for row in after} == {
        "Area": "large",
        "Zone": "large",  # all are in the south
        "Quality": "none",
    }


@pytest.mark.parametrize("rows", [20, 60, 300])
def test_few_rows_like_those_of_training_do_not_drift(client: TestClient, rows: int) -> None:
    chance = np.random.default_rng(rows)
    lines = "".join(
        f"{chance.integers(50, 140)},{chance.integers(0, 10)},{chance.choice(ZONES)}\n"
        for _ in range(rows)
    )
    client.post("/v1/predict", content="Area,Quality,Zone\n" + lines, headers=CSV)
    assert {row["drift"] for row in monitored(client)["columns"]} == {"none"}


def test_a_model_of_an_earlier_version_has_counts_and_no_drift(
    client: TestClient, tmp_path: Path
) -> None:
    resources = resources_of(client)
    with resources.database.reading() as session:
        model = repository.get(session, LOCAL_TENANT, "champion")
    old = {
        name: value
        for name, value in json.loads(manifest().model_dump_json()).items()
        if name not in ("calibration", "intervals", "importance", "outliers", "background")
    }
    for feature in (*old["numeric"], *old["categorical"]):
        del feature["shares"]
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(old))
    sha256 = resources.blobs.put_artifact(model.folder, path)
    with resources.database.writing() as session:
        row = session.get_one(Model, model.id)
        row.artifacts = row.artifacts | {"manifest.json": sha256}

    answer = client.post("/v1/predict", json={"rows": [ROW]}).json()
    found = monitored(client)
    assert [odd["code"] for odd in answer["warnings"]] == ["no_interval"]
    assert (found["rows"], found["columns"]) == (1, [])
    assert client.get("/v1/models/champion").json()["intervals"] == []
    assert client.post("/v1/predict?explain=true", json={"rows": [ROW]}).status_code == 422


def test_the_stability_index_is_what_its_formula_says() -> None:
    seen, trained = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    assert stability_index(seen, trained) == pytest.approx(2 * 0.3 * np.log(2.5))
    assert stability_index(trained, trained) == 0


@pytest.mark.parametrize(
    ("share", "drift"),
    # Of two halves the one now has this share: psi is 0.093, 0.106, 0.229, 0.275, 0.832.
    [(0.65, "none"), (0.66, "moderate"), (0.73, "moderate"), (0.75, "large"), (0.9, "large")],
)
def test_drift_is_moderate_from_a_tenth_and_large_from_a_quarter(share: float, drift: str) -> None:
    rows = 100_000
    priced = ModelUsage(columns={"Area": [round(rows * share), round(rows * (1 - share)), 0]})

    found = drift_of("Area", [0.5, 0.5, 0.0], rows, [priced])

    assert found is not None
    assert found.psi == pytest.approx((share - 0.5) * np.log(share / (1 - share)), rel=0.01)
    assert found.drift == drift


def test_threads_lose_no_rows(client: TestClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.post("/v1/predict", json={"rows": [ROW] * 5}), range(40)))
    found = monitored(client)
    assert (found["requests"], found["rows"]) == (40, 200)


def test_processes_add_up_and_a_second_writing_counts_nothing_twice(client: TestClient) -> None:
    resources, model_id = resources_of(client), client.get("/v1/models/champion").json()["id"]
    others = [Usage(resources.database) for _ in range(2)]
    for usage in others:
        usage.add_rows(LOCAL_TENANT, model_id, manifest(), encoded(np.full(PUT_ASIDE + 1, 60.0)))
        usage.add_request(LOCAL_TENANT, model_id, manifest(), 0.003)
        usage.write()
        usage.write()
    client.post("/v1/predict", json={"rows": [ROW]})

    found = monitored(client)
    assert (found["requests"], found["rows"]) == (3, 2 * (PUT_ASIDE + 1) + 1)


def test_columns_are_counted_together_as_each_alone() -> None:
    """Numbers on an edge, missing ones, columns with fewer edges or none, and unknown levels."""
    chance = np.random.default_rng(0)
    numbers = chance.integers(0, 5, (300, 3)).astype(float)
    numbers[chance.random(numbers.shape) < 0.1] = np.nan
    codes = chance.integers(0, [3, 2], (300, 2))
    edges = [[0.0, 1.0, 3.0], [2.0], []]
    own = manifest()
    counted = own.model_copy(
        update={
            "numeric": [
                own.numeric[0].model_copy(update={"name": f"n{place}", "edges": some})
                for place, some in enumerate(edges)
            ],
            "categorical": [
                own.categorical[0].model_copy(update={"name": "c0", "levels": ["a", "b"]}),
                own.categorical[0].model_copy(update={"name": "c1", "levels": ["a"]}),
            ],
        }
    )
    parts = [slice(0, 1), slice(1, 200), slice(200, 300)]
    together = Bins(counted)
    total = together.nothing()
    for part in parts:
        total += together.count(numbers[part], codes[part])

    expected = {
        f"n{place}": np.bincount(bins(numbers[:, place], some), minlength=len(some) + 2).tolist()
        for place, some in enumerate(edges)
    }
    expected["c0"] = np.bincount(codes[:, 0], minlength=3).tolist()
    expected["c1"] = np.bincount(codes[:, 1], minlength=2).tolist()
    assert together.by_column(total) == expected


def test_single_rows_are_counted_by_the_writing_thread(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row may be priced on the event loop, which a count of two thousand columns would hold."""
    threads: set[str] = set()
    count = Bins.count

    def noting(self: Bins, numbers: np.ndarray, *others: np.ndarray) -> object:
        if len(numbers):
            threads.add(threading.current_thread().name)
        return count(self, numbers, *others)

    monkeypatch.setattr(Bins, "count", noting)
    usage, model_id = resources_of(client)[Usage], "mdl_row"
    for _ in range(PUT_ASIDE):
        usage.add_rows(LOCAL_TENANT, model_id, manifest(), encoded(np.array([60.0])))
    wait_until(lambda: threads)
    assert threads == {"usage"}


def test_counts_outlive_an_outage_of_the_database(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = resources_of(client)[Usage]
    client.post("/v1/predict", json={"rows": [ROW]})

    def away(*_: object) -> None:
        raise OperationalError("", {}, Exception("away"))

    with monkeypatch.context() as outage:
        outage.setattr("app.monitoring.usage.upsert", away)
        usage.write()
    client.post("/v1/predict", json={"rows": [ROW]})

    assert monitored(client)["rows"] == 2


def test_what_was_counted_is_written_when_the_process_ends(
    settings: Settings, tmp_path: Path
) -> None:
    with serving(settings) as client:
        train(client, tmp_path / "model")
        client.post("/v1/predict", json={"rows": [ROW]})
    with serving(settings) as client:
        assert monitored(client)["rows"] == 1
        assert client.post("/v1/predict", json={"rows": [ROW]}).json()["predictions"][0][
            "value"
        ] == price(100, 3, "south")
        assert monitored(client)["rows"] == 2


def test_a_deleted_model_leaves_no_counts(client: TestClient) -> None:
    client.post("/v1/predict", json={"rows": [ROW]})
    monitored(client)
    client.post("/v1/predict", json={"rows": [ROW]})
    model_id = client.get("/v1/models/champion").json()["id"]
    client.delete("/v1/aliases/champion")
    assert client.delete(f"/v1/models/{model_id}").status_code == 204
    assert client.get(f"/v1/models/{model_id}/monitoring").status_code == 404
    resources_of(client)[Usage].write()
    with resources_of(client).database.reading() as session:
        assert session.scalar(select(func.count()).select_from(ModelUsage)) == 0


@pytest.mark.parametrize("days", ["0", "366", "week"])
def test_days_that_cannot_be_meant_are_refused(client: TestClient, days: str) -> None:
    assert client.get(f"/v1/models/champion/monitoring?days={days}").status_code == 422


def drifts(seen: np.ndarray, trained: np.ndarray) -> list[str]:
    """Of levels drawn from `seen` and from `trained`, shares (levels,), twenty times."""
    chance = np.random.default_rng(0)
    found = []
    for _ in range(20):
        known = chance.multinomial(300, trained)
        asked = chance.multinomial(3_000, seen)
        counts = np.append(asked[known > 0], asked[known == 0].sum())
        shares = [*(known[known > 0] / 300), 0.0]
        usage = ModelUsage(columns={"word": counts.tolist()})
        drift = drift_of("word", shares, 300, [usage])
        assert drift is not None
        found.append(drift.drift)
    return found


@pytest.mark.parametrize("exponent", [0.8, 1.1, 1.5])
def test_words_with_a_long_tail_do_not_drift_by_themselves(exponent: float) -> None:
    shares = np.arange(1, 5_001) ** -exponent
    shares /= shares.sum()
    assert drifts(shares, shares).count("large") <= 1
    assert "none" not in drifts(np.random.default_rng(1).permutation(shares), shares)


@pytest.mark.parametrize(("psi", "drift"), [(0.15, "moderate"), (0.3, "large")])
def test_drift_has_the_bounds_of_the_literature(psi: float, drift: str) -> None:
    """Two halves of training's rows, of which one has grown."""
    grown = 0.5 + np.sqrt(psi) / 2  # Σ (p − q)·ln(p / q) ≈ 4·(p − ½)²
    usage = ModelUsage(columns={"word": [int(1e5 * grown), int(1e5 * (1 - grown)), 0]})
    found = drift_of("word", [0.5, 0.5, 0.0], 100_000, [usage])
    assert found is not None
    assert found.psi == pytest.approx(psi, rel=0.15)
    assert found.drift == drift
