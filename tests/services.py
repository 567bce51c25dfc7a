"""Services that tests need, and what becomes of a test without one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import httpx
import psycopg
import pytest
from polling import free_port, wait_until
from sqlalchemy import make_url

# User and password are libpq's own defaults: PGUSER, PGPASSWORD, the login name.
POSTGRES_SERVER = "postgresql+psycopg://127.0.0.1:5432/postgres"
SERVER_START_SECONDS = 10.0
OPTIONS = "--appendonly yes --maxmemory-policy noeviction --bind 127.0.0.1 --save ''".split()


def unavailable(reason: str) -> NoReturn:
    """Skip the test; on CI every service must be there, so fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI is set")
    pytest.skip(reason)


def execute(statement: str) -> None:
    """On the PostgreSQL server itself."""
    server = make_url(POSTGRES_SERVER).set(drivername="postgresql")
    with psycopg.connect(
        server.render_as_string(hide_password=False), autocommit=True, connect_timeout=5
    ) as connection:
        connection.execute(statement.encode())


@contextmanager
def postgres_database(template: str = "template1") -> Iterator[str]:
    """The address of a new database, which is dropped at the end."""
    name = f"foldhouse_test_{uuid.uuid4().hex}"
    execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield make_url(POSTGRES_SERVER).set(database=name).render_as_string(hide_password=False)
    finally:
        execute(f"DROP DATABASE {name} WITH (FORCE)")


class RedisServer:
    """A server of a test's own, set up as `docs/operating.md` asks; it can go away for a while."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        folder.mkdir()
        self.start()

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *f"--port {self._port} --dir".split(), self._folder, *OPTIONS],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: _answers(self._port), SERVER_START_SECONDS)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


@contextmanager
def s3_server(log: Path) -> Iterator[dict[str, str]]:
    """A server that speaks S3, with the bucket `houses`; gives the environment of its clients."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=lines,
            stderr=lines,
        )
    try:
        wait_until(lambda: httpx.put(f"{address}/houses").is_success if listens(port) else False)
        yield {
            "AWS_ENDPOINT_URL_S3": address,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
