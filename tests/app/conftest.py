"""The application, answering inside the test's process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from house_api import serving

from app.settings import Settings
from app.storage import recent


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str) -> Settings:
    return Settings(data_dir=tmp_path / "data", database_url=sqlite_url)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with serving(settings) as client:
        yield client


@pytest.fixture
def both_clients(tmp_path: Path, database_url: str) -> Iterator[TestClient]:
    """The application on SQLite and on PostgreSQL."""
    settings = Settings(data_dir=tmp_path / "data", database_url=database_url)
    with serving(settings) as client:
        yield client


@pytest.fixture
def no_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread looks anything up beside the requests, for tests that count connections."""
    monkeypatch.setattr(recent, "RENEWED_AT", 2)
