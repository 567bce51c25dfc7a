"""Loops go on whatever happens in them."""

from __future__ import annotations

import threading

import pytest
from polling import wait_until
from sqlalchemy.exc import OperationalError

from workers.outages import repeat


def test_a_loop_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """It tells of an outage once, however long it lasts, and of each other failure."""
    away = OperationalError("SELECT 1", None, Exception("the server is away\nand more"))
    outcomes = [away, away, None, away, RuntimeError("a defect"), None]
    stopping = threading.Event()
    calls = 0

    def action() -> None:
        nonlocal calls
        calls += 1
        if calls > len(outcomes):
            stopping.set()
        elif error := outcomes[calls - 1]:
            raise error

    thread = repeat(action, 0.01, stopping)
    wait_until(stopping.is_set)
    thread.join(timeout=10)
    assert calls == len(outcomes) + 1
    assert caplog.text.count("waits for the database: the server is away") == 2
    assert caplog.text.count("RuntimeError: a defect") == 1
