"""Both stacks: SQLite with the embedded broker, and PostgreSQL with a Redis server of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stack import Stack, running

from app.settings import Settings


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what `costly` tests do once more on the other stack than the one that it names."""
    for item in items:
        costly = item.get_closest_marker("costly")
        if costly is not None and costly.args[0] not in item.name:
            item.add_marker("again")


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
