"""The application behind a port, where the protocols' own clients find it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from polling import free_port, wait_until

from app.main import create_app
from app.settings import Settings


@contextmanager
def listening(settings: Settings) -> Iterator[int]:
    """Yields the port."""
    port = free_port()
    config = uvicorn.Config(create_app(settings), port=port, ws="none", log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield port
    server.should_exit = True
    thread.join(timeout=10)
