"""The port on which a worker answers Prometheus."""

from __future__ import annotations

import socket

import httpx
import pytest
from polling import free_port
from scraping import counted, samples

from app.settings import Settings
from workers.metrics import Metrics


def test_they_are_served_on_the_loopback_address() -> None:
    settings = Settings(worker_metrics_port=free_port())
    metrics = Metrics()
    metrics.attempts.labels("lost", "lease").inc()
    server = metrics.serve(settings)
    assert server is not None
    try:
        assert server.server_address == ("127.0.0.1", settings.worker_metrics_port)
        text = httpx.get(f"http://127.0.0.1:{settings.worker_metrics_port}/metrics").text
    finally:
        server.shutdown()
        server.server_close()
    assert counted(text, "foldhouse_attempts_total") == {("lease", "lost"): 1}
    assert samples(text, "process_resident_memory_bytes").keys() == {()}


def test_on_a_trusted_network_they_are_served_on_all_addresses() -> None:
    server = Metrics().serve(Settings(worker_metrics_port=free_port(), trusted_network=True))
    assert server is not None
    server.shutdown()
    server.server_close()
    assert server.server_address[0] == "0.0.0.0"


def test_by_default_there_is_no_port() -> None:
    assert Metrics().serve(Settings()) is None


def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(worker_metrics_port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            Metrics().serve(settings)
