"""The application behind a port, where clients of any kind find it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from polling import free_port, wait_until

from app.http.connections import Connection
from app.main import create_app
from app.settings import Settings


@contextmanager
def listening(settings: Settings) -> Iterator[int]:
    """Yields the port."""
    port = free_port()
    app = create_app(settings)
    config = uvicorn.Config(app, port=port, http=Connection, ws="none", log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield port
    server.should_exit = True
    thread.join(timeout=10)
    assert not thread.is_alive()
