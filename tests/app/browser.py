"""A real browser in front of the application behind a real port."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, sync_playwright
from polling import free_port, wait_until

from app.http.connections import Connection


@contextmanager
def listening(app: FastAPI) -> Iterator[int]:
    """The port on which the application answers."""
    port = free_port()
    config = uvicorn.Config(app, port=port, http=Connection, ws="none", log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield port
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """Debian's; without it the test is skipped, or fails on CI."""
    executable = shutil.which("chromium")
    if executable is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", *arguments]
        )
        try:
            yield browser
        finally:
            browser.close()
