"""Both stacks: the API in the test's process, workers as processes of their own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings

HOUSES = 400


@pytest.fixture(params=["sqlite and files", "postgresql and redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "sqlite and files":
        database_url, broker_url = request.getfixturevalue("sqlite_url"), ""
    else:
        database_url = request.getfixturevalue("migrated_postgres_url")
        broker_url = request.getfixturevalue("redis_url")
    return Settings(
        data_dir=tmp_path / "data", database_url=database_url, broker_url=broker_url, device="cpu"
    )


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    """Has one dataset, with the target `price`."""
    chance = random.Random(0)
    rows = ["area,rooms,street,price"]
    for _ in range(HOUSES):
        area, rooms = chance.randint(50, 250), chance.randint(1, 8)
        street = chance.choice(["Pave", "Grvl", "None"])
        price = 900 * area + 7000 * rooms + chance.gauss(0, 5000)
        rows.append(f"{area},{rooms},{street},{price:.0f}")
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        csv = "\n".join(rows) + "\n"
        uploaded = client.post("/v1/datasets", content=csv, headers={"Content-Type": "text/csv"})
        assert uploaded.status_code == 201, uploaded.text
        yield client
