"""Connections that say nothing, crawl, or are answered early, and what is counted of a request."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from browser import listening
from house_api import serving
from pydantic import ValidationError

from app.cli.server import _config
from app.http import connections, unread
from app.main import create_app
from app.settings import Settings
from app.storage.migrate import upgrade

HEAD = b"POST /v1/jobs/latest/cancel HTTP/1.1\r\nHost: localhost\r\n"
LARGE = b"/static-offline-docs/swagger-ui-bundle.js"
NO_HTTP = (b"\x16\x03\x01\x02\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
FOLDHOUSE = Path(sys.executable).parent / "foldhouse"
SILENT = 300
FILES = 256


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines that a test can wait for."""
    monkeypatch.setattr(connections, "HEAD_PATIENCE", 0.3)
    monkeypatch.setattr(connections, "TAKE_PATIENCE", 0.5)
    monkeypatch.setattr(unread, "LINGER", 0.3)


@pytest.fixture
def port(settings: Settings, quick: None) -> Iterator[int]:  # noqa: ARG001
    with listening(create_app(settings)) as port:
        yield port


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        yield connection


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side ends the connection, in whatever way."""
    found = b""
    try:
        while piece := connection.recv(65_536):
            found += piece
    except ConnectionError:
        pass
    return found


def drip(connection: socket.socket, piece: bytes) -> None:
    """Sends it again and again, until the other side has ended the connection."""
    try:
        while True:
            connection.sendall(piece)
            time.sleep(0.02)
    except ConnectionError:
        pass


def test_a_head_that_never_ends_ends_the_connection(port: int) -> None:
    for piece in (b"", b"GET / HT", HEAD + b"X-Long: "):
        with connected(port) as connection:
            connection.sendall(piece)
            assert all_of(connection) == b""
    for begun in (b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        with connected(port) as connection:
            connection.sendall(begun + HEAD + b"X-Slow: ")
            drip(connection, b"a")  # also in a second request of one connection


def test_an_answer_before_the_body_is_the_connections_last(port: int) -> None:
    requests = {
        b"POST /v1/jobs/latest/cancel HTTP/1.1\r\nOrigin: http://evil.example\r\n": 403,
        b"POST /nobody HTTP/1.1\r\n": 404,
        b"PUT /healthz HTTP/1.1\r\n": 405,
        b"GET /healthz HTTP/1.1\r\n": 200,
    }
    endless = {
        b"Content-Length: 100000000\r\n": b"a",
        b"Transfer-Encoding: chunked\r\n": b"1\r\na\r\n",
    }
    for length, piece in endless.items():
        for begun, status in requests.items():
            with connected(port) as connection:
                connection.sendall(begun + b"Host: localhost\r\n" + length + b"\r\n" + piece)
                answer = connection.recv(65_536).lower()
                assert answer.startswith(b"http/1.1 %d" % status), answer
                assert b"\r\nconnection: close\r\n" in answer
                drip(connection, piece)


def test_an_early_answer_is_read_by_a_client_that_still_sends(port: int) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * 65_536

    with httpx.Client(base_url=f"http://localhost:{port}") as client:
        for _ in range(3):
            refused = client.post("/v1/jobs", content=body(), headers={"Content-Type": "text/x"})
            assert refused.status_code in (413, 415)
            assert refused.headers["Connection"] == "close"
        kept = client.post("/v1/jobs", json={"target": "Price"})
        assert kept.status_code == 422
        assert "Connection" not in kept.headers  # its body was read


def test_who_takes_nothing_of_an_answer_is_dropped(port: int) -> None:
    with connected(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            for _ in range(2_000):
                connection.sendall(b"GET " + LARGE + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
                time.sleep(0.002)
        except ConnectionError:
            return
        drip(connection, b"a")


def test_what_is_no_http_is_a_problem_document(port: int) -> None:
    for bad in NO_HTTP:
        with connected(port) as connection:
            connection.sendall(bad)
            answer = all_of(connection).lower()
        assert answer.startswith(b"http/1.1 400")
        assert b"application/problem+json" in answer
        assert b"x-frame-options: deny" in answer


def test_idle_connections_make_room(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "most_connections", lambda: 5)
    monkeypatch.setattr(connections.Connection, "_next_line", 0.0)
    with listening(create_app(settings)) as port, ExitStack() as silent:
        for _ in range(20):
            silent.enter_context(connected(port))
        assert httpx.get(f"http://localhost:{port}/healthz").status_code == 200
        # All are busy with a body that has not come.
        busy = [silent.enter_context(connected(port)) for _ in range(5)]
        for connection in busy:
            connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n")
            connection.sendall(b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        time.sleep(0.2)
        refused = httpx.get(f"http://localhost:{port}/healthz")
        for connection in busy:
            connection.sendall(b"}       ")
            assert connection.recv(100).startswith(b"HTTP/1.1 422")

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    lines = [line for line in caplog.messages if "connections are in use" in line]
    assert len(lines) == 1  # not one for each


@pytest.mark.acceptance
def test_silent_connections_do_not_shut_a_service_with_few_descriptors(tmp_path: Path) -> None:
    upgrade(Settings(data_dir=tmp_path).resolved_database_url)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))

    command = [FOLDHOUSE, "api", "--port", "0"]
    environment = {**os.environ, "FOLDHOUSE_DATA_DIR": str(tmp_path)}
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=limit
        ) as process,
        ExitStack() as silent,
    ):
        assert process.stdout is not None
        port = int(process.stdout.readline().split(" (")[0].rpartition(":")[2])
        for _ in range(SILENT):
            silent.enter_context(connected(port))
        answers = [httpx.get(f"http://localhost:{port}{path}") for path in ("/readyz", "/v1/jobs")]
        process.terminate()

    assert [answer.status_code for answer in answers] == [200, 200]


def test_the_limit_of_descriptors_is_raised_and_keeps_some(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(256, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, given: limits.append(given))
    assert connections.most_connections() == 256 - connections.FILES_KEPT
    connections.raise_file_limit()
    assert limits[-1] == (4096, 4096)
    assert connections.most_connections() == connections.MOST_CONNECTIONS
    connections.raise_file_limit()
    assert len(limits) == 2


def test_the_server_trusts_no_header_and_says_no_name(settings: Settings) -> None:
    config = _config(create_app(settings), settings)
    assert not config.proxy_headers
    assert not config.server_header
    config.load()
    assert config.http_protocol_class is connections.Connection
    assert config.ws_protocol_class is None


@pytest.mark.parametrize("proxies", ["proxy", "10.0.0.1/8", "*"])
def test_proxies_are_addresses_and_networks(proxies: str) -> None:
    assert Settings(trusted_proxies="10.0.0.1, ::1,10.1.0.0/16").trusted_proxies == (
        "10.0.0.1/32,::1/128,10.1.0.0/16"
    )
    with pytest.raises(ValidationError):
        Settings(trusted_proxies=f"10.0.0.1,{proxies}")


def test_labels_are_of_a_fixed_set(settings: Settings) -> None:
    with serving(settings) as client:
        methods = [f"M{number}" for number in range(50)] + ["get", "PROPFIND"]
        for method in methods:
            client.request(method, f"/v1/jobs/{method}")
            client.request(method, f"/v1/{method}")
            client.get(f"/v1/models/{method}/{method}", params={method: method})
        text = client.get("/metrics").text

    assert 'method="other"' in text
    assert not any(f'"{method}"' in text for method in methods)
    counted = [line for line in text.splitlines() if "http_requests_total{" in line]
    assert len(counted) < 10
