"""Waiting for other processes: polling with a deadline, never a fixed sleep."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")

# A question to the API takes 8 ms of a core. Asked every 20 ms, two tests that wait would take more
# than half a core from the jobs that they wait for.
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.2  # seconds


def wait_until(condition: Callable[[], T], seconds: float = 30.0) -> T:
    """Poll until the condition gives something true, and return that; fail after `seconds`."""
    deadline, pause = time.monotonic() + seconds, FIRST_PAUSE
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not so within {seconds} s: {condition}")
        time.sleep(pause)
        pause = min(1.2 * pause, LONGEST_PAUSE)
    return value


def free_port() -> int:
    """A port on the loopback address that nothing listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
