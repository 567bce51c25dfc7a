"""The API inside uvicorn; importing this module imports the API."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
import uvicorn._subprocess as subprocesses
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import SIGNALS

from app.cli.terminal import tell
from app.http.connections import raise_file_limit
from app.logs import log_to_terminal
from app.main import create_app
from app.operations import shared
from app.settings import Settings

REQUEST_GRACE = 2  # s that a stopping server gives requests to finish
START_DEADLINE = 60  # s until each of several processes must be ready
METRICS_FOLDER = "FOLDHOUSE_METRICS_FOLDER"  # in the environment of several processes
SHUTDOWN_DEADLINE = 9  # s from a signal to the end of this process, even if something still runs


class Server(uvicorn.Server):
    """Announces that it is ready, and stops the worker as soon as a signal arrives."""

    def __init__(
        self, config: uvicorn.Config, say_where: Callable[[], None], on_stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._say_where = say_where
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._say_where()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # The kernel's default for SIGALRM ends the process, even while a thread in native code
        # reads a large table and cannot be interrupted.
        if not self.should_exit:
            signal.alarm(SHUTDOWN_DEADLINE)
        self._on_stop()
        super().handle_exit(sig, frame)


def run(
    settings: Settings,
    listener: socket.socket,
    workers: int = 1,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Serve until a signal arrives; `on_stop` is called at once when it does.

    With several `workers`, processes share the listener and are restarted when they die.
    """
    log(settings)
    raise_file_limit()
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    say_where = partial(announce, settings, url)
    if workers == 1:
        app = create_app(settings)
        freeze_imports()
        Server(_config(app, settings), say_where, on_stop).run(sockets=[listener])
        return
    with shared.shared_folder(settings.root / "tmp", workers) as folder:
        os.environ[METRICS_FOLDER] = str(folder)
        config = _config("app.cli.server:application", settings, factory=True, workers=workers)
        # Forked processes share what this one has imported, 90 MiB each that uvicorn's own would
        # import again. No thread of Python's runs here.
        subprocesses.spawn = multiprocessing.get_context("fork")  # type: ignore[assignment]
        freeze_imports()
        os.register_at_fork(after_in_child=_take_signals)
        Processes(config, [listener], say_where, on_stop).run()


class Processes(Multiprocess):
    """Announces that all are ready, and stops the worker as soon as a signal arrives."""

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        say_where: Callable[[], None],
        on_stop: Callable[[], None],
    ) -> None:
        super().__init__(config, sockets)
        self._say_where = say_where
        self._on_stop = on_stop

    def init_processes(self) -> None:
        super().init_processes()
        if all(process.wait_until_ready(START_DEADLINE) for process in self.processes):
            self._say_where()

    def terminate_all(self) -> None:
        self._on_stop()
        super().terminate_all()


def application() -> FastAPI:
    """The application of one of several processes."""
    settings = Settings()
    log(settings)
    shared.join(Path(os.environ[METRICS_FOLDER]))
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    app = create_app(settings)
    freeze_imports()
    return app


def freeze_imports() -> None:
    """Otherwise Python's garbage collector scans all modules every few hundred requests, which
    blocks the process for 60 ms."""
    gc.collect()
    gc.freeze()


def _take_signals() -> None:
    """A forked process would only note signals, as its parent does, until uvicorn handles them."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def _end_with_parent() -> None:
    """Stop this process when its parent was killed and cannot stop it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _config(app: FastAPI | str, settings: Settings, **other: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        # By name: a process that imports it before it answers its parent would be taken for hung.
        http="app.http.connections:Connection",
        loop="uvloop",
        reset_contextvars=True,  # else a pipelined request begins with what the one before has set
        ws="none",
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        server_header=False,
        timeout_graceful_shutdown=REQUEST_GRACE,
        **other,
    )


def log(settings: Settings) -> None:
    log_to_terminal(settings)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def announce(settings: Settings, url: str) -> None:
    """Say where the service runs."""
    said = f"foldhouse is running at {url} (try {url}/docs); Ctrl-C stops it"
    if settings.log_format == "json":  # a container's output is all one log
        logging.getLogger(__name__).info(said)
    else:
        tell(said)
