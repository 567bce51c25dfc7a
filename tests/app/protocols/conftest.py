"""The application with a champion, in the test's process and behind a port."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi.testclient import TestClient
from house_api import serving, train
from polling import free_port, wait_until

from app.main import create_app
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
    port = free_port()
    config = uvicorn.Config(create_app(trained), port=port, ws="none", log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield port
    server.should_exit = True
    thread.join(timeout=10)
