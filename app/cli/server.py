"""The API inside uvicorn; importing this module imports the API."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType

import typer
import uvicorn

from app.main import create_app
from app.settings import Settings

REQUEST_GRACE = 2  # s that a stopping server lets requests finish
SHUTDOWN_DEADLINE = 9  # s from a signal to the end of this process, whatever still runs in it


class Server(uvicorn.Server):
    """Says when it is ready, and tells the worker at once when it is to stop."""

    def __init__(self, config: uvicorn.Config, url: str, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._url = url
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        typer.echo(f"foldhouse answers at {self._url} (try {self._url}/docs); Ctrl-C stops it")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # The kernel's default for SIGALRM ends the process, even while a thread in native code
        # reads a large table and cannot be interrupted.
        if not self.should_exit:
            signal.alarm(SHUTDOWN_DEADLINE)
        self._on_stop()
        super().handle_exit(sig, frame)


def run(
    settings: Settings, listener: socket.socket, on_stop: Callable[[], None] = lambda: None
) -> None:
    """Answer requests until a signal; `on_stop` is called from its handler."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        # httptools would collect the headers of a request for as long as they come; this one stops
        # at 16 KiB.
        http="h11",
        timeout_graceful_shutdown=REQUEST_GRACE,
    )
    Server(config, url, on_stop).run(sockets=[listener])
