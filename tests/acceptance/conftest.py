"""Both stacks: SQLite with the embedded broker, and PostgreSQL with a Redis server of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stack import Stack, running

from app.settings import Settings


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
def stack(settings: Settings) -> Iterator[Stack]:
    """Its API runs and has one dataset, with the target `price`."""
    with running(settings) as stack:
        stack.upload()
        yield stack
