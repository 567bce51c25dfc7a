"""The application with a champion, in the test's process and behind a port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from house_api import serving, train
from listening import listening

from app.settings import Settings
from app.storage.migrate import upgrade


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("protocols")
    settings = Settings(data_dir=folder, max_body_bytes=200_000, max_predict_rows=10_000)
    upgrade(settings.resolved_database_url)
    with serving(settings) as client:
        train(client, folder / "model")
    return settings


@pytest.fixture(scope="module")
def client(trained: Settings) -> Iterator[TestClient]:
    with serving(trained) as client:
        yield client


@pytest.fixture(scope="module")
def port(trained: Settings) -> Iterator[int]:
    """Where the protocols' own clients find the application."""
    with listening(trained) as port:
        yield port
